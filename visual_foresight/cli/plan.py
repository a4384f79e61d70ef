"""`visual-foresight plan`: runs tasks, reports success with intervals, and says why the rest failed."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visual_foresight.affordable import require_at_most
from visual_foresight.benchmark.methods import METHODS
from visual_foresight.cli import QUIET_SECONDS, control
from visual_foresight.cli.chosen import (
    FIRST_LOOK,
    chosen_methods,
    chosen_seeds,
    chosen_shifts,
    chosen_tasks,
    planner_seeds,
)
from visual_foresight.cli.unread import refuse_all_but
from visual_foresight.wording import did_you_mean
from visual_foresight.worker_processes import MOST_WORKERS

if TYPE_CHECKING:
    from visual_foresight.benchmark.journal import Journal
    from visual_foresight.benchmark.runner import Job, Work

HELP = "run tasks under one or several methods, and report success with intervals, distances and decision times"
EPISODES = "episodes"
MOST_RUNS = 1_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    tasks = parser.add_argument_group("tasks")
    tasks.add_argument("--env", default=control.DEFAULT_ENVIRONMENT, help="gymnasium id of the real environment")
    tasks.add_argument(
        "--tasks",
        default=None,
        help=f"task file, name of a shipped set, or a number: the first so many of {FIRST_LOOK}; drawn from --seed if "
        "absent",
    )
    tasks.add_argument("--episodes", type=int, default=None, help="how many tasks: all of a set, or one that is drawn")
    tasks.add_argument(
        "--split",
        choices=("train", "varied", "jointed", "novel"),
        default=None,
        help="objects of tasks that are drawn (default: train)",
    )
    tasks.add_argument(
        "--planner_seeds",
        type=int,
        default=None,
        help="how often each task is run, with --seed, --seed + 1, ...; if absent, 3 of a whole set or task file, 1 of "
        "some tasks",
    )
    tasks.add_argument(
        "--baseline_seeds",
        type=int,
        default=None,
        help="as --planner_seeds, of all methods but 'learned', whose luck may differ less; --planner_seeds if absent",
    )
    tasks.add_argument("--shift", default=None, help="changed worlds beside the usual one: NAME[=strength],... or all")
    control.add_control_arguments(parser)
    methods = parser.add_argument_group("methods")
    methods.add_argument(
        "--method",
        nargs="+",
        choices=METHODS,
        default=None,
        help="what chooses the actions; that of --simulator if absent",
    )
    methods.add_argument(
        "--calibrate",
        action="store_true",
        help="rank correlation of costs, and of other objectives, with the true remaining distance",
    )
    output = parser.add_argument_group("running and output")
    output.add_argument("--workers", type=int, default=1, help="processes that share the episodes")
    output.add_argument("--threads", type=int, default=None, help="threads of each worker; all cores shared if absent")
    output.add_argument("--output", default="plan", help="folder for results.json and report.html; continued if there")
    output.add_argument("--overwrite", action="store_true", help="begin anew where the folder holds a run")
    output.add_argument("--no_report", dest="report", action="store_false", help="write results.json only")
    output.add_argument(
        "--record",
        action="store_true",
        help="keep every episode as data to train on, in the folder's 'episodes'; with --overwrite, those there go",
    )
    output.add_argument("--json", action="store_true", help="print the results as JSON")
    output.add_argument(
        "--compare",
        nargs=2,
        metavar=("A.json", "B.json"),
        default=None,
        help="compare two results pair by pair; runs nothing",
    )


def run(args: argparse.Namespace) -> int:
    """Run the tasks, or compare two results; 0 when that was done, whatever the share of goals reached."""
    if args.compare is not None:
        refuse_all_but(args, ("compare", "json"), "--compare reads two results and runs nothing")
        return compare(args)
    from visual_foresight.benchmark.gallery import discard_unfinished

    settings = control.ControlSettings.of(args)
    control.check_settings(settings)
    check_counts(args)
    check_environment(args.env)
    shifts = chosen_shifts(args.shift)
    tasks, count = chosen_tasks(args)
    methods = chosen_methods(args, settings)
    seeds = chosen_seeds(args, methods)
    total = count * len(shifts) * sum(map(len, seeds.values()))
    require_at_most("tasks x shifts x methods x --planner_seeds", total, MOST_RUNS, "days of work, one file of results")
    from visual_foresight.video_files import check_output_folder, check_own_file

    check_output_folder(args.output)
    folder = Path(args.output)
    if args.report and not args.overwrite:
        check_own_file(folder / "report.html", "plan")
    if args.record:
        check_output_folder(folder / EPISODES)
    facts = {name: control.describe_model(args) if name == "learned" else {} for name in methods}
    protocol = describe(args.env, tasks, settings)
    journal = open_journal(folder, args, protocol, settings, facts)
    work = make_work(folder, tasks, settings, args)
    if args.record and args.tasks is not None:
        print(f"a predictor that is trained on episodes of {tasks.name} must not be judged by it", file=sys.stderr)
    jobs = all_jobs(methods, shifts, count, seeds)
    try:
        run_missing(work, jobs, journal, args)
    except BaseException:
        discard_unfinished(folder / "pictures")
        journal.discard_if_empty()  # or the corrected command would be refused as one of other settings
        raise
    results = write_results(folder, journal, jobs, protocol, settings, facts, report=args.report)
    if args.json:
        print(json.dumps(results))
    else:
        from visual_foresight.benchmark.text import results_text

        print(results_text(results))
        print(f"results in {folder / 'results.json'}" + (f", look at {folder / 'report.html'}" if args.report else ""))
        if not args.report and (folder / "report.html").exists():
            print(f"{folder / 'report.html'} is of an earlier command, for --no_report was given")
        if args.record:
            print(recorded(folder / EPISODES, jobs, tasks))
    return 0


def recorded(folder: Path, jobs: Sequence["Job"], tasks: Any) -> str:
    """Say where recorded episodes are, and how many an earlier run of this folder did not record."""
    from visual_foresight.benchmark.recordings import without_recording

    missing = without_recording(folder, jobs, tasks)
    text = f"{len(jobs) - missing} of {len(jobs)} episodes to train on are in {folder}"
    return f"{text}; the others were run without --record: --overwrite runs all anew" if missing else text


def compare(args: argparse.Namespace) -> int:
    """Compare two results files and print what was found."""
    from visual_foresight.benchmark.comparison import compare_files
    from visual_foresight.benchmark.text import comparison_text

    found = compare_files(*args.compare)
    print(json.dumps(found) if args.json else comparison_text(found))
    return 0


def check_counts(args: argparse.Namespace) -> None:
    """Refuse numbers that cannot be.

    Raises:
        ValueError: names the option and its value.
    """
    for name in ("planner_seeds", "baseline_seeds", "workers", "threads"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name} must be at least 1, got {value}")
    require_at_most("--workers", args.workers, MOST_WORKERS, "each has a model of its own")
    require_at_most("--threads", args.threads or 1, MOST_WORKERS, "no machine has so many cores")
    seeds = planner_seeds(args)
    if (args.baseline_seeds or 1) > seeds:
        raise ValueError(
            f"--baseline_seeds {args.baseline_seeds} must not be above --planner_seeds {seeds}: other methods run with "
            "the first seeds of 'learned'"
        )


def check_environment(environment_id: str) -> None:
    """Refuse an id that gymnasium does not know, or that has no tasks.

    Raises:
        ValueError: says which id was meant.
    """
    import gymnasium

    import visual_foresight  # noqa: F401  registers the environments

    if environment_id not in gymnasium.registry:
        hint = did_you_mean(environment_id, list(gymnasium.registry))
        raise ValueError(f"unknown environment {environment_id!r}{hint}")
    if not environment_id.startswith("VisualForesight/Push"):
        raise ValueError(f"{environment_id} has no pushing tasks; use {control.DEFAULT_ENVIRONMENT}")


def describe(environment_id: str, tasks: Any, settings: control.ControlSettings) -> dict[str, Any]:
    """Return the protocol of the run."""
    import gymnasium

    from visual_foresight.benchmark.protocol import describe_protocol

    with closing(gymnasium.make(environment_id)) as environment:
        return describe_protocol(environment, environment_id, tasks, settings)


def open_journal(
    folder: Path,
    args: argparse.Namespace,
    protocol: dict[str, Any],
    settings: control.ControlSettings,
    facts: dict[str, dict[str, Any]],
) -> "Journal":
    """Return the journal of the folder, after making sure that this run belongs there."""
    from visual_foresight.benchmark.gallery import discard_pictures
    from visual_foresight.benchmark.journal import Journal, holds_rows
    from visual_foresight.benchmark.recordings import discard_recordings
    from visual_foresight.report import versions
    from visual_foresight.video_files import check_own_file

    check_own_file(folder / "journal.jsonl", "plan", lambda content: content.startswith('{"journal"'))
    check_own_file(folder / "results.json", "plan", lambda content: '"protocol"' in content)
    if args.overwrite:
        (folder / "journal.jsonl").unlink(missing_ok=True)
        discard_pictures(folder / "pictures")
        if args.record:
            discard_recordings(folder / EPISODES)
    elif (folder / "results.json").exists() and not holds_rows(folder / "journal.jsonl"):
        raise ValueError(
            f"{folder / 'results.json'} holds results whose episodes are in no journal there, and would be replaced: "
            "choose another --output, or pass --overwrite"
        )
    planning = {name: value for name, value in settings.table().items() if name not in ("seed", "steps")}
    software = {name: version for name, version in versions().items() if name not in ("platform", "processor")}
    identity = {"protocol": protocol, "settings": planning, "calibrate": args.calibrate, "versions": software}
    journal = Journal(folder / "journal.jsonl", identity)
    for method, own in facts.items():
        journal.add_method(method, own)
    return journal


def make_work(folder: Path, tasks: Any, settings: control.ControlSettings, args: argparse.Namespace) -> "Work":
    """Return what all episodes share."""
    from visual_foresight.benchmark.runner import Work

    return Work(
        environment_id=args.env,
        tasks=tasks,
        settings=settings,
        preset=args.preset,
        dtype=control.predictor_dtype(args),
        folder=str(folder / "pictures") if args.report else None,
        calibrate=args.calibrate,
        num_threads=args.threads,
        second=control.second_opinion(args),
        penalty=args.disagreement_weight,
        recordings=str(folder / EPISODES) if args.record else None,
    )


def all_jobs(
    methods: Sequence[str], shifts: Sequence[str], count: int, seeds: Mapping[str, Sequence[int]]
) -> list["Job"]:
    """Return every episode of the run: all methods and worlds of a task together, so that a stopped run compares."""
    from visual_foresight.benchmark.runner import Job

    return [
        Job(method, shift, index, seed)
        for index in range(count)
        for seed in sorted(set().union(*seeds.values()))
        for shift in shifts
        for method in methods
        if seed in seeds[method]
    ]


def run_missing(work: "Work", jobs: Sequence["Job"], journal: "Journal", args: argparse.Namespace) -> None:
    """Run the episodes that the journal lacks, with a line of progress on standard error."""
    from tqdm import tqdm

    from visual_foresight.benchmark.rows import row_key
    from visual_foresight.benchmark.runner import run_jobs

    missing = [job for job in jobs if job.key not in journal]
    if len(missing) < len(jobs):
        print(f"{len(jobs) - len(missing)} of {len(jobs)} episodes are in {journal.path} already", file=sys.stderr)
    successes: dict[str, list[int]] = {}
    wanted = {job.key for job in jobs}
    for row in journal.rows:
        if row_key(row) in wanted:
            count_success(successes, row)
    with tqdm(total=len(jobs), initial=len(jobs) - len(missing), unit="episode", delay=QUIET_SECONDS) as bar:
        for row in run_jobs(work, missing, workers=args.workers):
            journal.add(row)
            count_success(successes, row)
            told = ", ".join(f"{name} {won} of {all_}" for name, (won, all_) in successes.items())
            bar.set_postfix_str(told, refresh=False)  # else it is drawn too early to be ended with its line
            bar.update()


def count_success(successes: dict[str, list[int]], row: Mapping[str, Any]) -> None:
    """Add a row to the successes and episodes of its method."""
    tally = successes.setdefault(row["method"], [0, 0])
    tally[0] += bool(row.get("success"))
    tally[1] += 1


def write_results(
    folder: Path,
    journal: "Journal",
    jobs: Sequence["Job"],
    protocol: dict[str, Any],
    settings: control.ControlSettings,
    facts: dict[str, dict[str, Any]],
    *,
    report: bool,
) -> dict[str, Any]:
    """Write results.json and the report of this run's episodes; return the results."""
    from visual_foresight.benchmark.page import write_benchmark_report
    from visual_foresight.benchmark.results import make_results
    from visual_foresight.benchmark.rows import row_key
    from visual_foresight.report import versions
    from visual_foresight.video_files import write_text

    wanted = {job.key for job in jobs}
    rows = [row for row in journal.rows if row_key(row) in wanted]
    results = make_results(rows, protocol=protocol, settings=settings.table(), methods=facts, versions=versions())
    write_text(folder / "results.json", json.dumps(results, indent=1) + "\n")
    if report:
        write_benchmark_report(folder / "report.html", results, pictures=folder / "pictures")
    return results
