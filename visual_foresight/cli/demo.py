"""`visual-foresight demo`: plans pushes with the shipped predictor and shows what it imagined."""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from visual_foresight.cli import control
from visual_foresight.control_record import ControlRecord, summarize

HELP = "plan pushes with the shipped predictor; writes report.html, demo.gif and demo.mp4"
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
    settings = control.ControlSettings.of(args)
    control.check_settings(settings)
    tasks = control.choose_tasks(None, episodes=args.episodes, seed=args.seed, split=args.split)
    started = time.perf_counter()
    records = list(run_episodes(tasks.tasks, settings, args, describe=f"seed {args.seed}"))
    files = write_files(Path(args.output), records, describe_run(args, settings))
    summary = {**summarize(records), "seconds": time.perf_counter() - started, "files": files}
    print(json.dumps({**summary, "settings": describe_run(args, settings)}) if args.json else result_text(summary))
    return 0


def run_episodes(
    tasks: Sequence[Any], settings: control.ControlSettings, args: argparse.Namespace, *, describe: str
) -> Iterator[ControlRecord]:
    """Run tasks one after the other, with a line of progress for each on standard error."""
    import gymnasium
    from tqdm import tqdm

    environment_id = getattr(args, "env", control.DEFAULT_ENVIRONMENT)
    print(f"building the simulator ({source_name(args)}) ...", file=sys.stderr)
    with closing(gymnasium.make(environment_id)) as environment:
        simulator = control.make_simulator(args.simulator, environment, args.preset)
        for index, task in enumerate(tasks):
            name = f"{describe}, task {index + 1}"
            with tqdm(total=settings.steps, desc=f"{name} of {len(tasks)}", unit="step", leave=True) as bar:

                def show(progress: control.Progress, bar: Any = bar) -> None:
                    bar.update()
                    bar.set_postfix_str(
                        f"{progress.distance:.1f} px to go, cost {progress.cost:.2f}, "
                        f"{progress.decision_seconds:.2f} s a decision"
                    )

                record = control.run_task(
                    environment,
                    simulator,
                    task,
                    settings,
                    name=name,
                    rng=settings.seed + index,
                    imagine=getattr(args, "imagine", True),
                    on_step=show,
                )
            yield record


def source_name(args: argparse.Namespace) -> str:
    """Return in words what the planner imagines with."""
    return "the physics itself" if args.simulator == "true" else f"predictor {args.preset}"


def describe_run(args: argparse.Namespace, settings: control.ControlSettings) -> dict[str, Any]:
    """Return what was run, by name, for the report and the results."""
    described = {"environment": getattr(args, "env", control.DEFAULT_ENVIRONMENT), "simulator": source_name(args)}
    if args.simulator == "learned":
        described["weights_sha256"] = weights_digest(args.preset)
    if getattr(args, "tasks", None) is None:  # a task file has objects of its own
        described["split"] = args.split
    return {**described, **settings.table()}


def weights_digest(preset: str) -> str:
    """Return the SHA-256 of a predictor's weights, as its config records and its loading checked it."""
    from visual_foresight.predictor.presets import preset_directory

    return json.loads((preset_directory(preset) / "config.json").read_text(encoding="utf-8"))["weights_sha256"]


def write_files(folder: Path, records: Sequence[ControlRecord], settings: dict[str, Any]) -> dict[str, str]:
    """Write the moving pictures of the first episode and the report of all, and return their paths."""
    from visual_foresight.animation import control_frames
    from visual_foresight.report import write_report
    from visual_foresight.video_files import write_gif, write_mp4

    frames = list(control_frames(records[0]))
    gif = write_gif(folder / "demo.gif", frames, frames_per_second=FRAMES_PER_SECOND)
    mp4 = write_mp4(folder / "demo.mp4", frames, frames_per_second=FRAMES_PER_SECOND)
    report = write_report(folder / "report.html", records, settings=settings, animation=gif)
    return {"report": str(report), "gif": str(gif), "mp4": str(mp4)}


def result_text(summary: dict[str, Any]) -> str:
    """Return the result in a few lines for a person."""
    lines = []
    for episode in summary["episodes"]:
        outcome = "goal reached" if episode["success"] else "goal NOT reached"
        lines.append(
            f"{episode['name']}: {outcome}: {episode['first_distance_px']:.1f} px from the goal at the start, "
            f"{episode['last_distance_px']:.1f} px after {episode['num_steps']} steps "
            f"({episode['tolerance_px']:g} px counts as reached)"
        )
    if summary["num_episodes"] > 1:
        low, high = summary["success_interval_95"]
        lines.append(
            f"{summary['num_successes']} of {summary['num_episodes']} goals reached "
            f"(95 % interval {100 * low:.0f} to {100 * high:.0f} %), "
            f"{summary['last_distance_px_median']:.1f} px from the goal in the median"
        )
    if "decision_seconds" in summary:
        seconds = summary["decision_seconds"]
        lines.append(
            f"a decision took {seconds['p50']:.2f} s in the median, {seconds['max']:.2f} s at most; "
            f"the first {seconds['first']:.2f} s, building included"
        )
    if "files" in summary:
        lines.append(f"look at {summary['files']['report']} and {summary['files']['gif']}")
    return "\n".join(lines)
