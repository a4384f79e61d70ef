"""`visual-foresight demo`: plans pushes with the shipped predictor and shows what it imagined."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from visual_foresight.cli import control
from visual_foresight.cli.unread import MODEL, refuse_unread
from visual_foresight.control_record import ControlRecord, summarize
from visual_foresight.wording import counted, distance_text

HELP = "plan pushes with the shipped predictor; writes report.html, results.json, demo.gif and demo.mp4"
FRAMES_PER_SECOND = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    control.add_control_arguments(parser)
    parser.add_argument("--episodes", type=int, default=1, help="tasks to run, one after the other")
    parser.add_argument("--split", choices=("train", "novel"), default="train", help="known or held-out objects")
    parser.add_argument("--output", default="demo", help="folder for the report and the moving pictures")
    parser.add_argument("--json", action="store_true", help="print machine-readable JSON")


def run(args: argparse.Namespace) -> int:
    """Run the demo; 0 when the program did its work, whether or not the goal was reached."""
    import gymnasium

    import visual_foresight  # noqa: F401  registers the environments
    from visual_foresight.video_files import check_output_folder

    settings = control.ControlSettings.of(args)
    control.check_settings(settings)
    if args.simulator == "true":
        refuse_unread(args, MODEL, "--simulator true imagines nothing with a predictor")
    control.check_gradients(settings, [args.simulator])
    check_output_folder(args.output)
    if (Path(args.output) / "journal.jsonl").exists():
        raise ValueError(f"--output {args.output} holds a run of plan, whose results would be replaced: choose another")
    check_own(Path(args.output))
    tasks = control.choose_tasks(None, episodes=args.episodes, seed=args.seed, split=args.split)
    started = time.perf_counter()
    with closing(gymnasium.make(control.DEFAULT_ENVIRONMENT)) as environment:
        records = run_episodes(environment, tasks, settings, args)
        results = make_results(environment, tasks, records, settings, args)
    described = {**settings.table(), "simulator": source_name(args), **results["methods"].get("learned", {})}
    files = write_files(Path(args.output), records, results, {**described, "split": args.split})
    summary = {**summarize(records), "seconds": time.perf_counter() - started, "files": files}
    print(json.dumps({**summary, "settings": described}) if args.json else result_text(summary))
    return 0


def check_own(folder: Path) -> None:
    """Refuse to replace results that no demo wrote.

    Raises:
        ValueError: a file of one of its names is something else.
    """
    from visual_foresight.video_files import check_own_file

    check_own_file(folder / "results.json", "demo", partial(_holds_all, ('"protocol"', '"episodes"')))
    for name in ("report.html", "demo.gif", "demo.mp4"):
        check_own_file(folder / name, "demo")


def _holds_all(marks: Sequence[str], text: str) -> bool:
    return all(mark in text for mark in marks)


def run_episodes(
    environment: Any, tasks: Any, settings: control.ControlSettings, args: argparse.Namespace
) -> list[ControlRecord]:
    """Run tasks one after the other, with a line of progress for each on standard error."""
    from tqdm import tqdm

    if args.simulator == "learned":
        control.describe_model(args)  # a wrong name is answered before anything else is said
    print(f"building the simulator ({source_name(args)}) ...", file=sys.stderr)
    dtype = control.predictor_dtype(args)
    second = control.second_opinion(args)
    imagination = control.make_imagination(
        args.simulator, environment, args.preset, dtype=dtype, second=second, penalty=args.disagreement_weight
    )
    records = []
    for index, task in enumerate(tasks):
        name = f"seed {args.seed}, task {index + 1}"
        with tqdm(total=settings.steps, desc=f"{name} of {len(tasks)}", unit="step", leave=True) as bar:

            def show(progress: control.Progress, bar: Any = bar) -> None:
                bar.update()
                bar.set_postfix_str(
                    f"{progress.distance:.1f} px to go, cost {progress.cost:.2f}, "
                    f"{progress.decision_seconds:.2f} s a decision"
                )

            records.append(
                control.run_task(
                    environment, imagination, task, settings, name=name, rng=settings.seed + index, on_step=show
                )
            )
    return records


def make_results(
    environment: Any,
    tasks: Any,
    records: Sequence[ControlRecord],
    settings: control.ControlSettings,
    args: argparse.Namespace,
) -> dict[str, Any]:
    """Return the results in the format of `plan`; an episode of the demo ends where the controller stops."""
    from visual_foresight.benchmark import results
    from visual_foresight.benchmark.protocol import describe_protocol
    from visual_foresight.benchmark.rows import episode_row
    from visual_foresight.report import versions

    method = args.simulator
    rows = [
        episode_row(
            record, task, method=method, index=index, planner_seed=settings.seed, deadline_ms=settings.deadline_ms
        )
        for index, (record, task) in enumerate(zip(records, tasks, strict=True))
    ]
    return results.make_results(
        rows,
        protocol=describe_protocol(environment, control.DEFAULT_ENVIRONMENT, tasks, settings, until="stopped"),
        settings=settings.table(),
        methods={method: control.describe_model(args) if method == "learned" else {}},
        versions=versions(),
    )


def source_name(args: argparse.Namespace) -> str:
    """Return in words what the planner imagines with."""
    if args.simulator == "true":
        return "the physics itself"
    second = control.second_opinion(args)
    return f"predictor {args.preset}" + (f", second opinion {second}" if second else "")


def write_files(
    folder: Path, records: Sequence[ControlRecord], results: dict[str, Any], settings: dict[str, Any]
) -> dict[str, str]:
    """Write results, the moving pictures of the first episode and the report of all, and return their paths."""
    from visual_foresight.animation import control_frames
    from visual_foresight.report import write_report
    from visual_foresight.video_files import write_gif, write_mp4, write_text

    found = write_text(folder / "results.json", json.dumps(results, indent=1) + "\n")
    frames = list(control_frames(records[0]))
    gif = write_gif(folder / "demo.gif", frames, frames_per_second=FRAMES_PER_SECOND)
    mp4 = write_mp4(folder / "demo.mp4", frames, frames_per_second=FRAMES_PER_SECOND)
    report = write_report(folder / "report.html", records, settings=settings, animation=gif)
    return {"report": str(report), "results": str(found), "gif": str(gif), "mp4": str(mp4)}


def result_text(summary: dict[str, Any]) -> str:
    """Return the result in a few lines for a person."""
    lines = []
    for episode in summary["episodes"]:
        outcome = "goal reached" if episode["success"] else "goal NOT reached"
        last = distance_text(episode["last_distance_px"], episode["tolerance_px"])
        lines.append(
            f"{episode['name']}: {outcome}: {episode['first_distance_px']:.1f} px from the goal at the start, "
            f"{last} after {counted(episode['num_steps'], 'step')} ({episode['tolerance_px']:g} px counts as reached)"
        )
    if summary["num_episodes"] > 1:
        low, high = summary["success_interval_95"]
        lines.append(
            f"{summary['num_successes']} of {summary['num_episodes']} goals reached "
            f"(95 % interval {100 * low:.0f} to {100 * high:.0f} %), "
            f"{summary['last_distance_px_median']:.1f} px from the goal in the median"
        )
    seconds = summary["decision_seconds"]
    lines.append(
        f"a decision took {seconds['p50']:.2f} s in the median, {seconds['max']:.2f} s at most; "
        f"the first {seconds['first']:.2f} s, building included"
    )
    lines.append(f"look at {summary['files']['report']} and {summary['files']['gif']}")
    return "\n".join(lines)
