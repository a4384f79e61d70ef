"""`visual-foresight plan`: runs tasks and reports success with its interval, distances and decision times."""

import argparse
import json
from pathlib import Path
from typing import Any

from visual_foresight.cli import control, demo
from visual_foresight.control_record import summarize

HELP = "run tasks in an environment and report success, distances and decision times"
NUM_REPORTED = 12  # episodes with pictures in the report; each takes about a megabyte


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--env", default=control.DEFAULT_ENVIRONMENT, help="gymnasium id of the real environment")
    parser.add_argument(
        "--tasks", default=None, help="task file, or name of a shipped set; drawn from --seed if absent"
    )
    parser.add_argument("--episodes", type=int, default=None, help="how many tasks: all of a set, or one that is drawn")
    parser.add_argument("--split", choices=("train", "novel"), default="train", help="objects of tasks that are drawn")
    control.add_control_arguments(parser)
    parser.add_argument("--output", default="plan", help="folder for results.json and report.html")
    parser.add_argument("--no_report", dest="report", action="store_false", help="write results.json only")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")


def run(args: argparse.Namespace) -> int:
    """Run the tasks; 0 when all of them were run, whatever the share of goals reached."""
    from visual_foresight.report import versions, write_report
    from visual_foresight.video_files import write_text

    settings = control.ControlSettings.of(args)
    control.check_settings(settings)
    check_environment(args.env)
    tasks = control.choose_tasks(args.tasks, episodes=args.episodes, seed=args.seed, split=args.split)
    args.imagine = args.report
    records = list(demo.run_episodes(tasks.tasks, settings, args, describe=tasks.name))
    folder = Path(args.output)
    results: dict[str, Any] = {
        **summarize(records),
        "tasks": {"name": tasks.name, "sha256": tasks.sha256},
        "settings": demo.describe_run(args, settings),
        "versions": versions(),
    }
    write_text(folder / "results.json", json.dumps(results, indent=1) + "\n")
    if args.report:
        table = {**results["settings"], "tasks": f"{tasks.name}, sha256 {tasks.sha256[:16]}"}
        write_report(folder / "report.html", records[:NUM_REPORTED], settings=table)
    if args.json:
        print(json.dumps(results))
    else:
        print(demo.result_text(results))
        print(f"achieved {results['decision_seconds']['hertz']:.1f} decisions a second; p95 {p95(results):.2f} s")
        print(f"results in {folder / 'results.json'}")
    return 0


def p95(results: dict[str, Any]) -> float:
    """Return the time within which 95 % of the decisions were made [s]."""
    return results["decision_seconds"]["p95"]


def check_environment(environment_id: str) -> None:
    """Refuse an id that gymnasium does not know, or that has no tasks.

    Raises:
        ValueError: says which id was meant.
    """
    import difflib

    import gymnasium

    import visual_foresight  # noqa: F401  registers the environments

    if environment_id not in gymnasium.registry:
        near = difflib.get_close_matches(environment_id, list(gymnasium.registry), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown environment {environment_id!r}{hint}")
    if not environment_id.startswith("VisualForesight/Push"):
        raise ValueError(f"{environment_id} has no pushing tasks; use {control.DEFAULT_ENVIRONMENT}")
