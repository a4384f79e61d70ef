"""`plan` as a benchmark: methods side by side, going on where a run stopped, workers, shifts, comparison."""

import argparse
import json

import pytest

from visual_foresight import read_episodes
from visual_foresight.benchmark import runner
from visual_foresight.cli import chosen, plan

QUICK = ("plan", "--tasks=push-seen-v1", "--steps=2", "--candidates=8", "--iterations=1", "--horizon=2", "--elites=2")
QUICK += ("--action_repeat=1",)
TIMES = ("decision_seconds",)


def rows_of(folder) -> list[dict]:
    """Rows of a results file without what no two runs share: times."""
    rows = json.loads((folder / "results.json").read_text())["episodes"]
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]


def test_methods_stand_in_one_table(command, tmp_path):
    """Oracles and floors in one run: a line each, and what is missing of 100 %."""
    words = (*QUICK, "--episodes=2", "--method", "true", "true-state", "copy", "zero", "random", "--output", tmp_path)
    answer = command(*words)
    assert answer.code == 0, answer.err
    for name in ("true ", "true-state ", "copy ", "zero ", "random ", "planner ", "objective "):
        assert any(line.startswith(name) for line in answer.out.splitlines()), name
    results = json.loads((tmp_path / "results.json").read_text())
    assert [one["method"] for one in results["figures"]] == ["true", "true-state", "copy", "zero", "random"]
    assert len(results["episodes"]) == 10
    page = (tmp_path / "report.html").read_text()
    assert "Failures of true" in page and 'class="player"' in page and "data:image/png" in page


def test_a_run_goes_on_where_it_stopped(command, tmp_path, monkeypatch):
    """Episodes in the journal are not run again, and the end is that of one run without a stop."""
    words = (*QUICK, "--method", "zero", "random", "--planner_seeds=2", "--no_report")
    assert command(*words, "--episodes=3", "--output", tmp_path / "whole").code == 0
    assert command(*words, "--episodes=1", "--output", tmp_path / "parts").code == 0
    ran, run = [], runner.Workplace.run

    def counted(self, job):
        ran.append(job)
        return run(self, job)

    monkeypatch.setattr(runner.Workplace, "run", counted)
    assert command(*words, "--episodes=3", "--output", tmp_path / "parts").code == 0
    assert len(ran) == 8
    assert rows_of(tmp_path / "parts") == rows_of(tmp_path / "whole")


def test_baselines_may_run_with_fewer_seeds():
    """The first seeds of 'learned', or as many as it has."""
    args = argparse.Namespace(seed=4, planner_seeds=3, baseline_seeds=1)
    jobs = plan.all_jobs(["learned", "zero"], ["none"], 2, chosen.chosen_seeds(args, ["learned", "zero"]))
    seeds = {(job.method, job.index): [] for job in jobs}
    for job in jobs:
        seeds[job.method, job.index].append(job.planner_seed)
    assert seeds == {(name, i): [4, 5, 6] if name == "learned" else [4] for name in ("learned", "zero") for i in (0, 1)}
    args.baseline_seeds = None
    assert list(chosen.chosen_seeds(args, ["zero"])["zero"]) == [4, 5, 6]


@pytest.mark.parametrize(
    ("words", "seeds"),
    [
        ("--tasks push-seen-v1", [7, 8, 9]),
        ("--tasks my/tasks.json", [7, 8, 9]),
        ("--tasks push-seen-v1 --planner_seeds 1", [7]),
        ("--tasks push-seen-v1 --episodes 20", [7]),
        ("--tasks 20", [7]),
        ("--split novel", [7]),
        ("--tasks 20 --planner_seeds 2", [7, 8]),
    ],
)
def test_a_whole_set_is_run_with_three_planner_seeds(words, seeds):
    """Some tasks, for a first look, with one; whoever gives a number has it."""
    parser = argparse.ArgumentParser()
    plan.add_arguments(parser)
    args = parser.parse_args([*words.split(), "--seed", "7"])
    assert list(chosen.chosen_seeds(args, ["learned"])["learned"]) == seeds


def test_other_settings_do_not_go_on(command, refused, tmp_path):
    """A folder with a run of another horizon is refused, and begun anew on request."""
    words = (*QUICK, "--episodes=1", "--method=zero", "--no_report", "--output", tmp_path)
    assert command(*words).code == 0
    assert "settings.approach_weight: 0.5 there, 1.0 now" in refused(*words, "--approach_weight=1")
    (tmp_path / "pictures").mkdir()
    for name in ("mine.png", "zero-none-000-0.png"):
        (tmp_path / "pictures" / name).write_bytes(b"")
    assert command(*words, "--approach_weight=1", "--overwrite").code == 0
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["mine.png"]


def test_a_report_of_somebody_else_is_kept(command, refused, tmp_path):
    """It is replaced only on request, and then by the next run as well."""
    words = (*QUICK, "--episodes=1", "--method=zero", "--output", tmp_path)
    (tmp_path / "report.html").write_text("<html>mine</html>")
    assert "report.html exists and is no result of plan" in refused(*words)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert command(*words, "--overwrite").code == 0
    assert command(*words).code == 0


@pytest.mark.parametrize("damage", ["gone", "cut in its first line"])
def test_results_that_no_journal_accounts_for_are_kept(damage, command, refused, tmp_path):
    """Those of a demo, or of a run whose journal was lost: they are replaced only on request."""
    words = (*QUICK, "--episodes=1", "--method=zero", "--no_report", "--output", tmp_path)
    assert command(*words).code == 0
    before, journal = (tmp_path / "results.json").read_bytes(), tmp_path / "journal.jsonl"
    if damage == "gone":
        journal.unlink()
    else:
        journal.write_bytes(journal.read_bytes()[:100])
    assert "holds results whose episodes are in no journal there" in refused(*words)
    assert (tmp_path / "results.json").read_bytes() == before
    assert command(*words, "--overwrite").code == 0
    assert command(*words).code == 0


def test_progress_counts_what_was_done_before():
    """Successes and episodes of a method."""
    successes = {}
    for success in (True, False, True):
        plan.count_success(successes, {"method": "true", "success": success})
    assert successes == {"true": [2, 3]}


def test_workers_change_nothing(command, tmp_path):
    """Two processes, one process: the same rows but for times."""
    words = (*QUICK, "--episodes=2", "--method", "true", "random", "--no_report")
    for workers in (1, 2):
        answer = command(*words, f"--workers={workers}", "--output", tmp_path / str(workers))
        assert answer.code == 0, answer.err
    assert rows_of(tmp_path / "1") == rows_of(tmp_path / "2")


@pytest.mark.slow
def test_workers_change_nothing_for_the_learned_model(command, tmp_path, tiny_predictor):
    """The predictor's arithmetic does not depend on how many processes share the cores."""
    words = (*QUICK, "--episodes=2", "--method=learned", "--preset", tiny_predictor, "--no_report")
    for workers in (1, 2):
        assert command(*words, f"--workers={workers}", "--output", tmp_path / str(workers)).code == 0
    assert rows_of(tmp_path / "1") == rows_of(tmp_path / "2")


def test_order_changes_nothing(tmp_path):
    """Jobs run backwards, in one workplace, give the same rows."""
    from visual_foresight.benchmark.settings import ControlSettings
    from visual_foresight.cli.control import DEFAULT_ENVIRONMENT
    from visual_foresight.envs.tasks import TaskSet

    settings = ControlSettings(steps=2, candidates=8, iterations=1, elites=2, horizon=2, action_repeat=1)
    work = runner.Work(DEFAULT_ENVIRONMENT, TaskSet.shipped("push-novel-v1"), settings, "push_fast")
    jobs = [runner.Job("true", shift, index, 0) for shift in ("none", "mass=1") for index in range(2)]

    def rows(order):
        made = {(row["shift"], row["task"]): row for row in runner.run_jobs(work, order)}
        return {key: {name: value for name, value in row.items() if name not in TIMES} for key, row in made.items()}

    assert rows(jobs) == rows(jobs[::-1])


def test_shifts_are_paired_with_the_usual_world(command, tmp_path):
    """Named shifts run beside the unshifted world, and the table says by how many points they differ."""
    words = (*QUICK, "--episodes=2", "--method=zero", "--shift=mass=1,camera_yaw=3", "--output", tmp_path)
    answer = command(*words)
    assert answer.code == 0, answer.err
    curve = json.loads((tmp_path / "results.json").read_text())["shifts"]["zero"]
    assert [point["shift"] for point in curve] == ["none", "camera_yaw=3", "mass=1"]
    assert all("difference" in point for point in curve[1:])
    assert "zero, shift" in answer.out


def test_calibrate_reports_rank_correlations(command, tmp_path):
    """With the physics for a model the distance orders futures as they come true; two steps ahead little can differ."""
    words = ("plan", "--tasks=1", "--method=true", "--steps=4", "--candidates=8", "--iterations=1", "--elites=2")
    answer = command(*words, "--calibrate", "--no_report", "--output", tmp_path)
    assert answer.code == 0, answer.err
    found = json.loads((tmp_path / "results.json").read_text())["figures"][0]["rank_correlation"]
    assert {"cost", "distance", "approach"} <= set(found)
    assert "rank correlation" in answer.out


def test_calibrate_without_a_planning_method_is_refused(refused, tmp_path):
    """Random actions have no costs to compare, and nothing is left in the folder."""
    message = refused(*QUICK, "--method", "random", "zero", "--calibrate", "--output", tmp_path / "run")
    assert "--calibrate compares costs of plans, and random, zero has none" in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["journal.jsonl", "results.json"])
def test_files_of_somebody_else_stay_even_with_overwrite(name, refused, tmp_path):
    """--overwrite begins a run of this program anew, and these are none."""
    (tmp_path / name).write_text("mine")
    for words in ((), ("--overwrite",)):
        message = refused(*QUICK, "--episodes=1", "--method=zero", "--output", tmp_path, *words)
        assert f"{name} exists and is no result of plan" in message
    assert (tmp_path / name).read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


def test_deadlines_are_counted(command, tmp_path):
    """With a deadline that cannot be kept, every decision misses it and still does one iteration."""
    words = (*QUICK, "--episodes=1", "--method=true", "--deadline_ms=0.01", "--no_report", "--output", tmp_path)
    answer = command(*words)
    decisions = json.loads((tmp_path / "results.json").read_text())["figures"][0]["decisions"]
    assert (decisions["missed_share"], decisions["iterations_min"]) == (1.0, 1)
    assert "missed" in answer.out


def test_two_runs_are_compared(command, refused, tmp_path):
    """`--compare` pairs two results; other tasks and another budget are refused, and name what differs."""
    for name, more in (("a", ("--method=zero",)), ("b", ("--method=random",)), ("c", ("--method=zero", "--steps=3"))):
        assert command(*QUICK, "--episodes=2", *more, "--no_report", "--output", tmp_path / name).code == 0
    answer = command("plan", "--compare", tmp_path / "a" / "results.json", tmp_path / "b", "--json")
    assert json.loads(answer.out)["comparisons"][0]["num_pairs"] == 2
    assert "budget_steps: 2 and 3" in refused("plan", "--compare", tmp_path / "a", tmp_path / "c")
    assert "no results at" in refused("plan", "--compare", tmp_path / "a", tmp_path / "absent")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--planner_seeds=0"], "--planner_seeds must be at least 1, got 0"),
        (["--baseline_seeds=0"], "--baseline_seeds must be at least 1, got 0"),
        (["--baseline_seeds=2"], "--baseline_seeds 2 must not be above --planner_seeds 1"),
        (["--tasks=push-seen-v1", "--baseline_seeds=4"], "--baseline_seeds 4 must not be above --planner_seeds 3"),
        (["--workers=0"], "--workers must be at least 1, got 0"),
        (["--method=best"], "best"),
        (["--shift=wind"], "unknown shift 'wind'"),
        (["--shift=mass=99"], "takes a strength from"),
        (["--tasks=5", "--episodes=3"], "so does --episodes 3; give one"),
        (["--tasks=5000"], "holds 200 tasks"),
        (["--planner=cem_gradient", "--method", "learned", "true"], "true has no gradients"),
        (["--deadline_ms=0"], "--deadline_ms must be positive"),
        (["--deadline_ms=inf"], "--deadline_ms must be positive and finite, got inf"),
        (["--threads=100000"], "--threads must be at most 1,024"),
        (["--terminal_weight=1e308"], "--terminal_weight must be positive and at most 1,000,000"),
        (["--approach_weight=1e308"], "--approach_weight must be at most 1,000,000"),
        (["--proposals=100"], "--proposals 100 are some of --candidates 100"),
        (["--switch_margin=-0.1"], "--switch_margin must be finite and not negative"),
        (["--proposals=-1"], "pass 0 to 99"),
    ],
)
def test_wrong_input_is_refused(words, message, refused, tmp_path):
    """Each mistake is named in one line before anything runs."""
    assert message in refused("plan", *words, "--output", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_episodes_are_kept_as_training_data(command, tmp_path):
    """One file an episode, with what was seen and done; a run that goes on adds to them, a new one begins anew."""
    words = (*QUICK, "--method", "random", "--no_report", "--record", "--output", tmp_path)
    answer = command(*words, "--episodes=1")
    assert answer.code == 0, answer.err
    assert f"1 of 1 episodes to train on are in {tmp_path / 'episodes'}" in answer.out
    assert "must not be judged" in answer.err
    assert command(*words, "--episodes=2", "--planner_seeds=2").code == 0
    seeds = sorted({row["task_seed"] for row in rows_of(tmp_path)})
    episodes = {path.name: next(iter(read_episodes(path))) for path in sorted((tmp_path / "episodes").iterdir())}
    assert list(episodes) == [f"random-none-{task}-{seed}.npz" for task in seeds for seed in (0, 1)]
    for row in rows_of(tmp_path):
        episode = episodes[f"random-none-{row['task_seed']}-{row['planner_seed']}.npz"]
        assert episode.frames.shape == (3, 64, 64, 3) and episode.actions.shape == (2, 2)
        assert episode.metadata["policy"] == "random" and episode.metadata["task_seed"] == row["task_seed"]
        assert episode.metadata["success"] == row["success"]
    without = [word for word in words if word != "--record"]
    assert command(*without, "--episodes=1", "--overwrite").code == 0
    assert len(list((tmp_path / "episodes").iterdir())) == 4, "data go only where --record says so"
    (tmp_path / "episodes" / "random-mine-1-0.npz").write_text("somebody's")
    assert command(*words, "--episodes=1", "--overwrite").code == 0
    assert len(list((tmp_path / "episodes").iterdir())) == 2, "its own recordings go, and nothing else"


def test_episodes_that_were_not_recorded_are_counted(command, tmp_path):
    """A run that is done already is not run again for the sake of its recordings, and says so."""
    words = (*QUICK, "--method", "random", "--no_report", "--output", tmp_path)
    assert command(*words, "--episodes=1").code == 0
    answer = command(*words, "--episodes=2", "--record")
    assert "1 of 2 episodes to train on" in answer.out and "--overwrite runs all anew" in answer.out


def test_a_file_where_recordings_belong_is_refused_at_once(command, tmp_path):
    (tmp_path / "episodes").write_text("mine")
    answer = command(*QUICK, "--method", "random", "--record", "--output", tmp_path)
    assert answer.code == 2 and "a folder is needed there" in answer.err
    assert not (tmp_path / "journal.jsonl").exists()


def test_recorded_episodes_train(command, tmp_path):
    """The folder is what `train` takes."""
    words = ("plan", "--method", "random", "--episodes=2", "--steps=3", "--no_report", "--record")
    assert command(*words, "--output", tmp_path).code == 0
    small = ("--backbone=fast", "--width=0.25", "--num_masks=2", "--sequence_length=3", "--batch_size=1")
    answer = command(
        "train", "--data_dir", tmp_path / "episodes", "--output_dir", tmp_path / "run", "--num_iterations=1",
        "--event_log_dir", tmp_path / "events", "--preprocess=none", "--split_by=episode", "--train_val_split=0.5",
        *small,
    )  # fmt: skip
    assert answer.code == 0, answer.err
