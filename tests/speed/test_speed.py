"""The parts of `bench`: times, shares of limits, the pushing cost, the door to other planners."""

import importlib.util
import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from visual_foresight.predictor.config import PredictorConfig
from visual_foresight.predictor.predictor import VideoPredictor
from visual_foresight.simulator import LearnedSimulator
from visual_foresight.speed import comparison, feeding, imagining, pushing, scale, solvers, training
from visual_foresight.speed.measurement import Measurement, timed, timed_together

TINY = {"backbone": "fast", "image_height": 16, "image_width": 16, "action_size": 2, "state_size": 2, "num_masks": 2}
OWN = [name for name, (_, module) in solvers.SOLVERS.items() if module is None]
OTHERS = [(name, module) for name, (_, module) in solvers.SOLVERS.items() if module is not None]


def test_calls_are_counted_and_taken_in_turns():
    """Warm-up calls are made and not timed; functions alternate."""
    calls = []
    times = timed_together([lambda: calls.append("a"), lambda: calls.append("b")], repeats=3, warmup=2)
    assert "".join(calls) == "ab" * 5
    assert [len(each) for each in times] == [3, 3]
    assert len(timed(lambda: None, repeats=4, warmup=0)) == 4


def test_rates_and_shares_follow_from_the_median():
    """10 units in a median of 2 s, at 3 operations each, of a limit of 60 a second: 5 a second, a quarter of it."""
    measured = Measurement("work", "units", 10, (1.0, 2.0, 9.0), limit="peak", cost=3.0, facts={"ratio": 2.0})
    figures = measured.to_json({"peak": 60.0})
    assert figures["rate_per_second"] == 5.0
    assert figures["milliseconds_median"] == 2000.0
    assert figures["share_of_limit"] == pytest.approx(0.25)
    assert figures["facts"] == {"ratio": 2.0}
    assert "share_of_limit" not in measured.to_json({"another": 60.0})


@pytest.fixture(scope="module")
def simulator():
    return LearnedSimulator(VideoPredictor(PredictorConfig(**TINY)))


@pytest.fixture(scope="module")
def leaping():
    return LearnedSimulator(VideoPredictor(PredictorConfig(**TINY, context_frames=1, stride=2)))


def test_a_published_decision_imagines_the_whole_budget(simulator, leaping):
    """The share of the network comes from rolling out the candidates that the decision judged; leaps fill up."""
    budget = {"candidates": 8, "iterations": 2, "horizon": 3}
    for each in (simulator, leaping):
        measured = imagining.measure_published_decision(each, repeats=2, warmup=0, budget=budget)
        assert measured.note.startswith("8 x 2 x 3 control steps")
        assert measured.facts["network_share"] > 0
        assert measured.facts["rollouts_milliseconds"] > 0


def test_rollouts_count_control_steps_and_frames(leaping):
    """A leap of two makes half as many frames as control steps; a horizon is filled up to whole leaps."""
    measured = imagining.measure_rollout(leaping, repeats=1, warmup=1, candidates=4, horizon=3)
    assert measured.work == 16
    assert measured.facts["frames_per_second"] == pytest.approx(measured.rate / 2)
    assert imagining.imagine(leaping, imagining.scene(leaping), np.zeros((2, 3, 2), np.float32)).horizon == 4


def test_operations_of_rollouts_are_those_of_what_is_rolled_out(leaping, monkeypatch):
    """Each call of the original network is a whole frame; drafts take less; of a loop every round counts."""
    from visual_foresight import unrolling

    seed = imagining.seed_predictor(PredictorConfig(**{**TINY, "backbone": "seed", "kernel_size": 5}))
    frame = imagining.count_step_flops(seed)
    assert imagining.count_rollout_flops(seed, 3, candidates=4) == pytest.approx(3 * frame, rel=0.02)
    fast = leaping.predictor
    assert 0 < imagining.count_rollout_flops(fast, 3) < 3 * imagining.count_step_flops(fast)
    counted = imagining.count_rollout_flops(fast, 7)
    monkeypatch.setattr(unrolling, "_UNROLLED", 9)
    monkeypatch.setattr(imagining, "_COUNTED", 9)
    assert counted == pytest.approx(imagining.count_rollout_flops(fast, 7), rel=0.01)


def test_the_seed_is_measured_beside_the_fast_network(simulator):
    """One row for each network and batch; the ratio is that of the medians."""
    fast, seed = imagining.measure_against_seed(simulator, repeats=1, warmup=0, batch_sizes=(2,), horizon=2)
    assert (fast.name, seed.name) == ("rollout, batch 2", "seed rollout, batch 2")
    assert fast.facts["control_steps_ratio"] == pytest.approx(seed.median / fast.median)
    assert fast.work == seed.work == 4


@pytest.mark.slow
def test_the_seeds_precisions_are_compared():
    """float32 and bfloat16 of the same weights: their frames are close, and both are timed."""
    exact, rounded = imagining.measure_seed_precision(repeats=1, warmup=0, batch_size=1, length=3)
    assert (exact.name, rounded.name) == ("seed float32", "seed bfloat16")
    assert rounded.facts["psnr_between_db"] > 20
    assert rounded.facts["speedup"] == pytest.approx(exact.median / rounded.median)


@pytest.mark.slow
def test_a_training_step_changes_the_weights():
    """What is timed is training: the loss is finite and the weights move."""
    step, predictor = training.make_step(TINY, "float32", 2, 4)
    before = [np.array(weights) for weights in predictor.get_weights()]
    found = step()  # the loss, and what the metrics hold: among them figures that are NaN where nothing is measured
    assert np.isfinite(found[0] if isinstance(found, list) else found).all()
    assert any((now != then).any() for now, then in zip(predictor.get_weights(), before, strict=True))


def test_synthetic_episodes_move():
    """Pictures of the benchmark are not all alike."""
    (episode,) = feeding.synthetic_episodes(1)
    assert episode.num_frames == 21 and (episode.frames[0] != episode.frames[10]).any()


# ---- comparing planners --------------------------------------------------------------------------------------------


@given(st.integers(1, 6), st.integers(0, 10))
def test_the_pushing_cost_is_that_of_each_candidate_alone(horizon, seed):
    """Batched costs equal a slow loop over one candidate in plain Python; actions beyond the Box count as clipped."""
    candidates = np.random.default_rng(seed).normal(scale=1.5, size=(4, horizon, 2))
    expected = [_slow_cost(np.clip(each, -1, 1)) for each in candidates]
    np.testing.assert_allclose(pushing.pushing_cost(candidates), expected, atol=1e-12)


def _slow_cost(actions):
    (px, py), (ox, oy), reach = pushing.PUSHER, pushing.OBJECT, 0.0
    for ax, ay in actions:
        px, py = px + pushing.STEP * ax, py + pushing.STEP * ay
        distance = ((ox - px) ** 2 + (oy - py) ** 2) ** 0.5
        if distance < pushing.RADIUS:
            ox, oy = px + (ox - px) / distance * pushing.RADIUS, py + (oy - py) / distance * pushing.RADIUS
        reach += max(distance - pushing.RADIUS, 0.0)
    goal = ((ox - pushing.GOAL[0]) ** 2 + (oy - pushing.GOAL[1]) ** 2) ** 0.5
    return goal + 0.1 * reach / len(actions)


def test_counted_costs_know_the_lowest():
    """Evaluations and the lowest cost are those of all calls."""
    counted = comparison.CountedCost(lambda candidates: candidates.sum(axis=(1, 2)))
    for value in (3.0, -1.0, 2.0):
        counted(np.full((2, 1, 1), value))
    assert (counted.evaluations, counted.lowest) == (6, -1.0)


SPACE = spaces.Box(np.array([-1.0, -1.0], np.float32), np.array([1.0, 1.0], np.float32))
BUDGET = solvers.Budget(candidates=64, iterations=5, elites=8, horizon=4)
TARGET = np.linspace(-0.5, 0.5, 8).reshape(4, 2)


def distance_to_target(candidates):
    assert candidates.ndim == 3 and (np.abs(candidates) <= 1).all()
    return ((candidates - TARGET) ** 2).sum(axis=(1, 2)).astype(np.float32)


def check_solver(records, *, seeded):
    """Cheaper than standing still at an equal budget, and repeatable where it can be seeded."""
    still = float(distance_to_target(np.zeros((1, 4, 2)))[0])
    assert records[0]["answer"] < 0.6 * still and records[0]["best"] <= records[0]["answer"] + 1e-6
    assert 64 * 5 * 0.7 <= records[0]["evaluations"] <= 64 * 5 + 1
    assert not seeded or records[0]["answer"] == records[1]["answer"]


@pytest.mark.parametrize("name", OWN)
def test_every_solver_approaches_a_known_optimum(name):
    """Ours, by the door that the others go through."""
    solve = solvers.SOLVERS[name][0]
    check_solver(
        [comparison.solve_once(solve, distance_to_target, SPACE, BUDGET, seed=1) for _ in range(2)], seeded=True
    )


OTHER = """
import json, sys
import numpy as np
from gymnasium import spaces
from visual_foresight.speed import comparison, solvers
solve = solvers.installed_solvers()[0][sys.argv[1]]
target = np.linspace(-0.5, 0.5, 8).reshape(4, 2)
cost = lambda candidates: ((candidates - target) ** 2).sum(axis=(1, 2)).astype(np.float32)
space = spaces.Box(np.array([-1.0, -1.0], np.float32), np.array([1.0, 1.0], np.float32))
budget = solvers.Budget(candidates=64, iterations=5, elites=8, horizon=4)
print(json.dumps([comparison.solve_once(solve, cost, space, budget, seed=1) for _ in range(2)]))
"""


@pytest.mark.parametrize(("name", "module"), OTHERS)
def test_other_solvers_approach_a_known_optimum(name, module):
    """In a process of its own: one of them ends a process in which TensorFlow was imported before it."""
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed (extra [compare])")
    answer = subprocess.run([sys.executable, "-c", OTHER, name], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr[-2000:]
    check_solver(json.loads(answer.stdout.splitlines()[-1]), seeded=module != "pytorch_icem")  # it cannot be seeded


def test_solvers_compare_in_rows():
    """One row for each cost and solver, with means over seeds; a plan of another shape is refused."""
    chosen = {name: solvers.SOLVERS[name][0] for name in OWN}
    problems = {"target": comparison.Problem([distance_to_target], SPACE)}
    lines = []
    rows = comparison.compare_solvers(chosen, problems, BUDGET, seeds=2, warmup=0, report=lines.append)
    assert [row["planner"] for row in rows] == OWN and len(lines) == len(OWN)
    assert all(row["seeds"] == 2 and row["costs"] == 1 for row in rows)
    for row in rows:
        assert bool(comparison.above(row)) == (row["planner"] != comparison.YARDSTICK)
    with pytest.raises(ValueError, match=r"a plan of shape \[1, 2\], expected \[4, 2\]"):
        comparison.solve_once(lambda *_: np.zeros((1, 2)), distance_to_target, SPACE, BUDGET, 0)


def test_each_seed_has_its_own_cost():
    """Costs are taken in turn, the warm-up's from the end; differences from the yardstick are those of each seed."""
    asked = []

    def solve(cost, space, budget, seed):
        asked.append(float(cost(np.zeros((1, 4, 2)))[0]))
        return np.full((4, 2), 0.5 if seed == 1 else 0.0, np.float32)

    def level(value):
        return lambda candidates: value + candidates.sum(axis=(1, 2))

    problems = {"levels": comparison.Problem([level(1.0), level(10.0)], SPACE)}
    chosen = {comparison.YARDSTICK: lambda *_: np.zeros((4, 2), np.float32), "other": solve}
    rows = comparison.compare_solvers(chosen, problems, BUDGET, seeds=3, warmup=1, report=lambda line: None)
    assert asked == [10.0, 1.0, 10.0, 1.0]
    difference = rows[1]["answer_cost_above_iCEM"]
    assert (difference["mean"], difference["count"]) == (pytest.approx(4.0 / 3), 3)
    assert difference["low"] <= difference["mean"] <= difference["high"]


def test_missing_solvers_are_named(monkeypatch):
    """What is not installed is left out and named; nothing at all is an error that names the extra."""
    monkeypatch.setattr(solvers.importlib, "import_module", lambda name: None)
    monkeypatch.setattr(solvers.importlib.util, "find_spec", lambda name: object() if name == "pytorch_mppi" else None)
    found, missing = solvers.installed_solvers()
    assert list(found) == [*OWN, "pytorch_mppi"] and missing == ["pytorch_icem", "stable_worldmodel"]
    monkeypatch.setattr(solvers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'visual-foresight\[compare\]'"):
        solvers.installed_solvers()


# ---- scale ---------------------------------------------------------------------------------------------------------


def test_charts_hold_every_point():
    """A dot for each point, one panel for each series; points that take longer lie higher."""
    points = [{"candidates": 64, "milliseconds_median": 10.0}, {"candidates": 128, "milliseconds_median": 100.0}]
    picture = scale.charts({"scale": {"candidates": {"points": points}, "horizon": {"points": _one("horizon")}}})
    heights = [float(part.split('"')[0]) for part in picture.split('cy="')[1:]]
    assert len(heights) == 3 and heights[0] > heights[1]
    assert picture.count('class="title"') == 2


@pytest.mark.parametrize("name", scale.SERIES)
def test_charts_name_both_axes(name):
    """Each series says what lies along its horizontal axis, and that upwards is the time of a decision."""
    picture = scale.charts({"scale": {name: {"points": _one(name)}}})
    assert "time of a decision [" in picture
    assert (
        name.replace("_size", "").replace("image", "frame") in picture.split('class="title"')[1].split("</text>", 1)[1]
    )


def _one(name):
    return [{name: 5, "milliseconds_median": 50.0}]


def test_a_series_ends_when_its_points_take_too_long(monkeypatch, simulator, tmp_path):
    """After the first point beyond the limit, the rest is left out and named."""
    import argparse

    from visual_foresight.benchmark.settings import ControlSettings

    simulator.predictor.save(tmp_path / "tiny")
    clock, policies = itertools.count(1), []

    def time_decision(config, settings, sizes, point_seconds, dtype):
        policies.append(dtype)
        return {"milliseconds_median": 1e3 * next(clock), "repeats": 1}

    monkeypatch.setattr(scale, "time_decision", time_decision)
    args = argparse.Namespace(preset=str(tmp_path / "tiny"), point_seconds=1.5, precision="bfloat16")
    results = scale.measure_scale(args, ControlSettings(), {"candidates": (1, 2, 4, 8)})
    assert [point["candidates"] for point in results["scale"]["candidates"]["points"]] == [1, 2]
    assert results["scale"]["candidates"]["left_out"] == [4, 8]
    assert "left out: 4, 8" in scale.scale_table(results)
    assert policies == ["mixed_bfloat16"] * 2


def test_the_precision_of_the_scale_is_the_predictors(simulator, monkeypatch):
    """A decision asked for in bfloat16 is made by a predictor of that policy; once it was float32 all the same."""
    from visual_foresight.benchmark.settings import ControlSettings
    from visual_foresight.predictor import predictor as module

    made = []
    original = module.VideoPredictor

    def noted(config, **options):
        made.append(original(config, **options))
        return made[-1]

    monkeypatch.setattr(module, "VideoPredictor", noted)
    sizes = {"candidates": 4, "horizon": 2, "image_size": 16, "environments": 1}
    settings = ControlSettings(iterations=1, elites=2, action_repeat=1, replan_interval=1)
    scale.make_decision(simulator.predictor.config, settings, sizes, "mixed_bfloat16")()
    assert made[0].backbone.dtype_policy.name == "mixed_bfloat16"
