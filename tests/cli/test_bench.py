"""`visual-foresight bench`: it measures what is asked, beside the machine's limits, and keeps it as JSON."""

import json

import pytest

from visual_foresight.cli import bench
from visual_foresight.speed import comparison, scale, solvers

SMALL = ("--steps=2", "--candidates=8", "--iterations=1", "--horizon=2", "--elites=2", "--action_repeat=1")
ONCE = ("--repeats=1", "--warmup=1")
LIMITS = [
    "matrix product float32",
    "matrix product bfloat16",
    "convolution float32",
    "convolution bfloat16",
    "small convolution float32",
    "small convolution bfloat16",
    "memory copy",
]


def test_bench_measures_what_is_asked(command):
    """The limits come first and are their own limit, then the chosen works, with times of each repetition summed up."""
    answer = command("bench", "--only", "environment", "data", "--repeats=2", "--warmup=0", "--json")
    results = json.loads(answer.out)
    measured = {each["name"]: each for each in results["measurements"]}
    works = [
        "solver alone",
        "physics",
        "drawing",
        "environment",
        "data, memory",
        "data, raw shards",
        "data, png shards",
    ]
    assert list(measured) == LIMITS + works
    assert all(each["rate_per_second"] > 0 and each["repeats"] == 2 for each in measured.values())
    assert all(measured[name]["share_of_limit"] == pytest.approx(1) for name in LIMITS)
    assert all("share_of_limit" in each for each in measured.values() if each["name"] != "data, memory")
    assert measured["environment"]["limit"] == "drawing" and measured["physics"]["limit"] == "solver alone"
    raw = measured["data, raw shards"]
    assert raw["limit"] == "memory copy"
    assert raw["share_of_limit"] == pytest.approx(
        raw["rate_per_second"] * 64 * 64 * 3 / measured["memory copy"]["rate_per_second"]
    )
    assert raw["facts"]["frames_per_processor_second"] > 0
    assert {"date", "device", "cores", "versions", "settings"} <= set(results)


def test_bench_measures_a_predictor(command, tmp_path, tiny_predictor):
    """Imagined frames and decisions are measured with the predictor that is named, and the results are kept."""
    path = tmp_path / "bench.json"
    words = ("--only", "rollout", "decision", *ONCE, "--output", path)
    answer = command("bench", "--preset", tiny_predictor, *SMALL, *words)
    assert answer.code == 0, answer.err
    assert "rollout" in answer.out and "of its limit" in answer.out
    measured = {each["name"]: each for each in json.loads(path.read_text())["measurements"]}
    assert measured["rollout"]["work"] == 16
    assert measured["rollout"]["limit"] == "small convolution float32"
    assert measured["rollout"]["share_of_limit"] > 0
    assert measured["decision"]["work"] == 1
    assert measured["decision"]["limit"] == "small convolution float32" and measured["decision"]["share_of_limit"] > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--repeats=0"], "--repeats must be at least 1"),
        (["--repeats=1000000000"], "--repeats must be at most 100,000"),
        (["--only", "everything"], "--only"),
        (["--training_batches", "0"], "--training_batches must be at least 1"),
        (["--scale", "--compare"], "ask for one at a time"),
        (["--simulator=true"], "leave --simulator out"),
        (["--only", "environment", "--preset", "push_fats"], "unknown preset 'push_fats'"),
    ],
)
def test_bench_refuses_wrong_input(words, message, refused):
    """Repetitions and sizes that cannot be, and contradictions, are named."""
    assert message in refused("bench", *words)


def test_compare_names_its_extra_when_nothing_is_installed(refused, monkeypatch):
    """Without any other planner there is nothing to compare with: one line says how to get them."""
    monkeypatch.setattr(solvers.importlib.util, "find_spec", lambda name: None)
    message = refused("bench", "--compare")
    assert "pip install 'visual-foresight[compare]'" in message and "pytorch_icem" in message


def test_compare_runs_with_what_is_installed(command, tmp_path, tiny_predictor, monkeypatch):
    """Ours alone, when the check for others is taken away: every planner on both costs, kept as JSON."""
    own = {name: solve for name, (solve, module) in solvers.SOLVERS.items() if module is None}
    monkeypatch.setattr(comparison, "installed_solvers", lambda: (own, ["pytorch_icem"]))
    path = tmp_path / "compare.json"
    words = ("--compare", "--seeds=2", "--warmup=1", "--output", path)
    answer = command("bench", "--preset", tiny_predictor, *SMALL, *words)
    assert answer.code == 0, answer.err
    assert "not installed: pytorch_icem" in answer.out
    results = json.loads(path.read_text())
    assert len(results["comparison"]) == 2 * len(own)
    for row in results["comparison"]:
        assert row["evaluations"] >= 8 and row["best_cost_mean"] <= row["answer_cost_mean"] + 1e-5
        assert row["overhead_milliseconds_median"] <= row["milliseconds_median"]


@pytest.mark.slow
def test_scale_measures_series_and_draws_them(command, tmp_path, tiny_predictor, monkeypatch):
    """Each series has its points and the charts are an SVG picture; another ending is refused."""
    series = {"candidates": (4, 8), "horizon": (2, 4), "image_size": (16,), "environments": (1, 2)}
    monkeypatch.setattr(scale, "SERIES", series)
    monkeypatch.setattr(scale.measure_scale, "__defaults__", (series,))
    path, picture = tmp_path / "scale.json", tmp_path / "scale.svg"
    words = ("--scale", "--point_seconds=5", "--output", path, "--charts", picture)
    answer = command("bench", "--preset", tiny_predictor, *SMALL, *words)
    assert answer.code == 0, answer.err
    results = json.loads(path.read_text())["scale"]
    assert {name: [point[name] for point in each["points"]] for name, each in results.items()} == {
        name: list(values) for name, values in series.items()
    }
    assert picture.read_text().startswith("<svg") and picture.read_text().count("<circle") == 7
    with pytest.raises(ValueError, match="end the name in .svg"):
        scale.write_charts(tmp_path / "scale.png", json.loads(path.read_text()))


def test_a_full_disk_does_not_cost_the_figures(command, tmp_path, monkeypatch, no_room):
    """They are printed before they are written."""
    monkeypatch.setattr(bench, "_measure", lambda args, settings: ({"figures": "x" * 5000}, "measured"))
    with no_room(1000):
        answer = command("bench", "--output", tmp_path / "b.json")
    assert (answer.code, answer.out) == (2, "measured\n")
    assert f"{tmp_path / 'b.json'} cannot be written" in answer.err
    assert not list(tmp_path.iterdir())
