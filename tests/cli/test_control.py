"""Demo and plan: what they write, what they count, and what they refuse."""

import argparse
import hashlib
import json

import gymnasium
import numpy as np
import pytest
from PIL import Image

from visual_foresight.benchmark.statistics import wilson_interval
from visual_foresight.cli import control, doctor
from visual_foresight.envs.tasks import TaskSet, sample_task

SMALL = ("--steps=2", "--candidates=8", "--iterations=1", "--horizon=2", "--elites=2", "--action_repeat=1")
ORACLE = ("--simulator=true", *SMALL)


@pytest.fixture(scope="module")
def environment():
    made = gymnasium.make(control.DEFAULT_ENVIRONMENT)
    yield made
    made.close()


def test_demo_writes_report_and_moving_pictures(command, tmp_path):
    """The demo ends with 0 whether or not the goal was reached, says which, and writes four files."""
    answer = command("demo", *ORACLE, "--output", tmp_path / "demo")
    assert answer.code == 0
    assert "goal NOT reached" in answer.out
    assert "2 steps" in answer.out
    written = sorted(path.name for path in (tmp_path / "demo").iterdir())
    assert written == ["demo.gif", "demo.mp4", "report.html", "results.json"]
    with Image.open(tmp_path / "demo" / "demo.gif") as gif:
        assert gif.n_frames > 3
    assert "px to go" in answer.err


def test_demo_keeps_the_results_of_plan(command, refused, tmp_path):
    """Both write results.json."""
    assert command("plan", "--tasks=1", "--method=zero", "--no_report", "--output", tmp_path).code == 0
    before = (tmp_path / "results.json").read_bytes()
    assert "holds a run of plan" in refused("demo", *ORACLE, "--output", tmp_path)
    assert (tmp_path / "results.json").read_bytes() == before


@pytest.mark.parametrize("name", ["results.json", "report.html", "demo.gif", "demo.mp4"])
def test_demo_replaces_its_own_results_only(refused, tmp_path, name):
    """A file of the same name that somebody else wrote stays."""
    (tmp_path / name).write_text('{"mine": 1}')
    assert f"{name} exists and is no result of demo" in refused("demo", *ORACLE, "--output", tmp_path)
    assert (tmp_path / name).read_text() == '{"mine": 1}'


@pytest.mark.parametrize(
    "words",
    [
        ("demo", *ORACLE, "--output="),
        ("plan", "--tasks=1", "--method=zero", "--output="),
        ("collect", "--episodes=1", "--steps=5", "--output="),
        ("predict", "--output="),
        ("train", "--data_dir=.", "--output_dir="),
    ],
    ids=lambda words: words[0],
)
def test_an_output_without_a_name_is_refused(words, refused):
    """As of a variable of the shell that is not set: the present folder was not meant."""
    assert "has no name (an empty text)" in refused(*words)


def test_demo_replaces_what_a_demo_wrote(command, tmp_path):
    assert [command("demo", *ORACLE, "--output", tmp_path).code for _ in range(2)] == [0, 0]


def test_demo_reports_every_episode_as_json(command, tmp_path):
    """`--json` prints one object on standard output: successes, distances, times, files."""
    answer = command("demo", *ORACLE, "--episodes=2", "--json", "--output", tmp_path)
    report = json.loads(answer.out)
    assert (report["num_episodes"], len(report["episodes"])) == (2, 2)
    assert report["success_interval_95"] == list(wilson_interval(report["num_successes"], 2))
    assert report["settings"]["horizon"] == 2
    assert set(report["files"]) == {"report", "results", "gif", "mp4"}
    results = json.loads((tmp_path / "results.json").read_text())
    assert [row["success"] for row in results["episodes"]] == [one["success"] for one in report["episodes"]]
    assert results["figures"][0]["method"] == "true"


def test_a_predictor_of_images_alone_neither_plans_nor_ranks(refused, tmp_path):
    """What it foretells does not depend on actions; plan spoke of a wrong action size, evaluate gave regrets."""
    import visual_foresight as vf

    sizes = {"use_state": False, "num_masks": 2, "width": 0.25}
    vf.VideoPredictor(vf.PredictorConfig(backbone="fast", **sizes)).save(tmp_path / "blind")
    words = ("--tasks=1", "--no_report", "--output", tmp_path / "plan")
    expected = "was trained on images alone (--use_state=0): it foretells the same whatever the robot does"
    assert expected in refused("plan", "--preset", tmp_path / "blind", *SMALL, *words)
    error = refused("evaluate", "--model_dir", tmp_path / "blind", "--bank=push-seen-v1", "--bank_scenes=1")
    assert f"blind on --bank push-seen-v1: a bank ranks action sequences, and the predictor {expected}" in error
    assert "or leave --bank out" in error


def test_oracle_reaches_the_goal_of_the_demo(command, tmp_path):
    """With the true physics for a model the demo's own settings solve a task: planner and objective are enough."""
    answer = command("plan", "--simulator=true", "--seed=0", "--no_report", "--json", "--output", tmp_path)
    (row,) = json.loads(answer.out)["episodes"]
    assert row["success"] and row["cause"] is None
    assert row["final_distance_px"] <= 3.0 < row["first_distance_px"]
    assert row["num_steps"] == 30  # the whole budget: what counts is where the object lies in the end


def test_plan_runs_a_task_file_and_writes_results(command, tmp_path):
    """Tasks come from a file, each run with three planner seeds; results.json names them by hash and holds what was
    printed."""
    tasks = TaskSet.sample(2, 5, "novel", name="two")
    tasks.save(tmp_path / "two.json")
    answer = command("plan", *ORACLE, "--tasks", tmp_path / "two.json", "--output", tmp_path / "plan")
    assert answer.code == 0
    results = json.loads((tmp_path / "plan" / "results.json").read_text())
    assert results["protocol"]["tasks"] == {"name": "two", "sha256": tasks.sha256, "num_tasks": 2}
    assert [each["task_seed"] for each in results["episodes"]] == [task.seed for task in tasks for _ in range(3)]
    (figures,) = results["figures"]
    assert f"{100 * figures['success']['rate']:.1f} %" in answer.out
    assert (tmp_path / "plan" / "report.html").exists()
    times = figures["decisions"]
    assert 0 < times["p50"] <= times["p95"] <= times["max"]


@pytest.mark.parametrize("planner", control.PLANNER_NAMES)
def test_every_planner_can_be_chosen(planner, command, tmp_path, tiny_predictor):
    """Each planner's name runs, on a shipped task set cut to one task; those that descend gradients in the learned
    model."""
    source = ("--preset", tiny_predictor, *SMALL) if "gradient" in planner else ORACLE
    words = ("plan", *source, "--tasks=demo-v1", "--episodes=1", f"--planner={planner}", "--no_report", "--json")
    results = json.loads(command(*words, "--output", tmp_path).out)
    assert results["settings"]["planner"] == planner
    assert len(results["episodes"]) == 1


def test_learned_simulator_plans_through_the_wrapper(command, tmp_path, tiny_predictor):
    """With a predictor the plan's frames and maps are in the report."""
    answer = command("demo", "--preset", tiny_predictor, *SMALL, "--output", tmp_path)
    assert answer.code == 0, answer.err
    page = (tmp_path / "report.html").read_text()
    assert '"heat": "data:image/png' in page
    assert hashlib.sha256((tiny_predictor / "model.weights.h5").read_bytes()).hexdigest() in page


def test_same_seed_same_episode(environment):
    """Running a task twice gives the same actions and the same pictures."""
    settings = control.ControlSettings(steps=3, candidates=8, iterations=2, horizon=4, elites=2)
    imagination = control.make_imagination("true", environment, "")
    task = sample_task(3)
    first, second = (
        control.run_task(environment, imagination, task, settings, name="", rng=7, outputs=None) for _ in range(2)
    )
    np.testing.assert_array_equal(first.actions, second.actions)
    np.testing.assert_array_equal(first.frames, second.frames)


def test_record_agrees_with_the_environment(environment):
    """The record's distance is the task's own, in pixels, and its goal is the task's goal pixel."""
    settings = control.ControlSettings(steps=2, candidates=4, iterations=1, horizon=2, elites=2)
    task = sample_task(11)
    imagination = control.make_imagination("true", environment, "")
    record = control.run_task(environment, imagination, task, settings, name="t")
    np.testing.assert_allclose(record.goal, task.goal_pixel, atol=1e-6)
    env = environment.unwrapped
    index = task.object_index
    wanted = task.pixel_distance(env.physics.object_poses()[index, :2], float(env.physics.heights[index]))
    assert record.distances[-1] == pytest.approx(wanted, abs=1e-6)
    assert record.success == (wanted <= record.tolerance)
    decision = record.decisions[0]
    np.testing.assert_allclose(decision.pixels[0], record.pixels[1], atol=1e-3)
    np.testing.assert_array_equal(decision.frames[0], record.frames[1])


def test_tip_homography_is_the_environment_s_tip_pixel(environment):
    """The map from the pusher's state to its pixel agrees with the environment over an episode."""
    observation, info = environment.reset(seed=4)
    mapping = control.tip_homography(environment.unwrapped)
    for action in np.random.default_rng(0).uniform(-1, 1, (10, 2)).astype(np.float32):
        np.testing.assert_allclose(mapping(observation["state"]), info["tip_pixel"], atol=0.05)
        observation, *_, info = environment.step(action)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--steps=0"], "--steps must be at least 1, got 0"),
        (["--candidates=x"], "--candidates"),
        (["--planner=cme"], "cme"),
        (["--episodes=0"], "--episodes must be at least 1"),
        (["--replan_interval=30"], "--replan_interval 30 exceeds --horizon 9"),
        (["--horizon=2", "--replan_interval=3"], "--replan_interval 3 exceeds --horizon 2"),
        (["--elites=30", "--candidates=20"], "--elites 30 are the best of --candidates 20"),
        (["--seed=-1"], "--seed must not be negative"),
        (["--preset=push_fats"], "unknown preset 'push_fats'"),
        (["--preset=no/such/folder"], "no/such/folder"),
    ],
)
def test_demo_refuses_wrong_input(words, message, command, tmp_path):
    """Each mistake is answered with exit code 2 and one line that names it; nothing is written."""
    answer = command("demo", *words, "--output", tmp_path / "demo")
    assert answer.code == 2
    assert message in answer.err.splitlines()[-1]
    assert answer.err.splitlines()[-1].startswith("visual-foresight demo: error:")
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--env=VisualForesight/Psh-v0"], "did you mean 'VisualForesight/Push-v0'"),
        (["--env=CartPole-v1"], "CartPole-v1 has no pushing tasks"),
        (["--tasks=no_such.json"], "no task set at no_such.json"),
        (["--tasks=demo-v1", "--episodes=100000"], "100000 were asked for"),
        (["--simulator=true", "--method", "learned"], "--simulator true is --method true"),
    ],
)
def test_plan_refuses_wrong_input(words, message, refused):
    """Unknown environments, task files and numbers are named."""
    assert message in refused("plan", *words)


def test_damaged_task_file_is_named(refused, tmp_path):
    """A task file that was cut off is refused with its name."""
    (tmp_path / "cut.json").write_text('{"task_set_version": 1, "na')
    assert "cut.json is not JSON" in refused("plan", "--tasks", tmp_path / "cut.json")


def test_doctor_tells_each_check_and_fails_with_a_fix(command, tmp_path, monkeypatch):
    """Every check has a line; one that fails is told with the way to mend it, and the exit code is 1."""

    def no_ffmpeg():
        raise ImportError("MP4 needs ffmpeg")

    monkeypatch.setattr(doctor, "_video", no_ffmpeg)
    monkeypatch.setattr(doctor, "_presets", lambda: "made up")
    answer = command("doctor", "--json", "--output", tmp_path)
    report = json.loads(answer.out)
    by_name = {check["name"]: check for check in report["checks"]}
    assert set(by_name) == {"python", "package", "versions", "backend", "renderer", "video", "presets", "output"}
    assert [name for name, check in by_name.items() if not check["ok"]] == ["video"]
    assert by_name["video"]["fix"].startswith("pip install")
    assert (answer.code, report["ok"]) == (1, False)


def test_doctor_refuses_unknown_words(refused):
    """The doctor takes no argument that it does not know."""
    assert "unrecognized arguments: please" in refused("doctor", "please")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], None),
        (["--second_opinion=none"], None),
        (["--second_opinion=push_fast_2"], "push_fast_2"),
        (["--preset=push_fast_2", "--second_opinion=push_fast"], "push_fast"),
    ],
)
def test_a_second_opinion_is_asked_for(words, expected):
    """No predictor brings one by itself; results name both predictors."""
    parser = argparse.ArgumentParser()
    control.add_control_arguments(parser)
    args = parser.parse_args(words)
    assert control.second_opinion(args) == expected
    described = control.describe_model(args)
    assert described.get("second_opinion") == expected
    assert ("second_weights_sha256" in described) == (expected is not None)
    assert "disagreement_weight" not in described


def test_disagreement_is_weighed_where_there_is_a_second_opinion():
    """Results name the weight; without a second opinion, or for a weight that is no number, it is refused."""

    def described(*words):
        parser = argparse.ArgumentParser()
        control.add_control_arguments(parser)
        return control.describe_model(parser.parse_args(["--disagreement_weight", *words]))

    assert described("0.5", "--second_opinion=push_fast_2")["disagreement_weight"] == 0.5
    with pytest.raises(ValueError, match="there is none"):
        described("0.5")
    with pytest.raises(ValueError, match="must be a finite number, got nan"):
        described("nan")
