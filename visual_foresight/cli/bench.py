"""`visual-foresight bench`: how fast this machine imagines, decides, simulates and loads data."""

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from visual_foresight.cli import control

if TYPE_CHECKING:
    from visual_foresight.cli.measurements import Measurement

HELP = "measure speed: imagined frames, decisions, environment, data; beside this machine's matrix product"
WORKS = ("rollout", "decision", "environment", "data")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    control.add_control_arguments(parser)
    parser.add_argument("--only", nargs="+", choices=WORKS, default=list(WORKS), help="what to measure")
    parser.add_argument("--repeats", type=int, default=20, help="repetitions that count")
    parser.add_argument("--warmup", type=int, default=2, help="repetitions before them, which do not")
    parser.add_argument("--output", default=None, help="file for the results as JSON")
    parser.add_argument("--json", action="store_true", help="print machine-readable JSON")


def run(args: argparse.Namespace) -> int:
    """Measure, and print a table."""
    if args.repeats < 1 or args.warmup < 0:
        raise ValueError(f"--repeats must be at least 1 and --warmup 0, got {args.repeats} and {args.warmup}")
    settings = control.ControlSettings.of(args)
    control.check_settings(settings)
    if args.simulator == "true":
        raise ValueError("bench measures the learned simulator; leave --simulator out")
    from visual_foresight.cli.doctor import usable_cores
    from visual_foresight.report import versions

    measurements = measure(args, settings)
    peak = measurements[0].rate
    rows = [each.to_json(peak) for each in measurements]
    results = {"measurements": rows, "cores": usable_cores(), "versions": versions(), "settings": settings.table()}
    if args.output is not None:
        from visual_foresight.video_files import write_text

        write_text(Path(args.output), json.dumps(results, indent=1) + "\n")
    print(json.dumps(results) if args.json else table(measurements, peak))
    return 0


def measure(args: argparse.Namespace, settings: control.ControlSettings) -> list["Measurement"]:
    """Return the measurements that were asked for, the matrix product first."""
    import gymnasium

    import visual_foresight  # noqa: F401  registers the environments
    from visual_foresight.cli import measurements

    times = {"repeats": args.repeats, "warmup": args.warmup}
    results: list[Measurement] = []

    def add(*new: "Measurement") -> None:
        results.extend(new)
        print(", ".join(f"{each.name}: {each.rate:.4g} {each.unit}/s" for each in new), file=sys.stderr)

    add(measurements.measure_matrix_product(**times))
    with closing(gymnasium.make(control.DEFAULT_ENVIRONMENT)) as environment:
        if "environment" in args.only:
            add(*measurements.measure_environment(environment, **times))
        if "data" in args.only:
            add(measurements.measure_data(**times))
        if {"rollout", "decision"} & set(args.only):
            door = control.make_simulator("learned", environment, args.preset)
            if "rollout" in args.only:
                sizes = {"candidates": settings.candidates, "horizon": settings.horizon}
                add(measurements.measure_rollout(door.simulator, **times, **sizes))
            if "decision" in args.only:
                add(measurements.measure_decision(environment, door, settings, **times))
    return results


def table(measurements: Sequence["Measurement"], peak: float) -> str:
    """Return the measurements as a table; times are those of one repetition."""
    lines = [f"{'work':<15}{'rate':>14}  {'':<12}{'median':>10}{'p95':>10}  {'of peak':>8}  sizes"]
    for each in measurements:
        figures = each.to_json(peak)
        rate, unit = each.rate, f"{each.unit}/s"
        if each.unit == "FLOP":
            rate, unit = rate / 1e9, "GFLOP/s"
        share = f"{100 * figures['share_of_peak']:.0f} %" if "share_of_peak" in figures else ""
        lines.append(
            f"{each.name:<15}{rate:>14,.1f}  {unit:<12}{figures['milliseconds_median']:>7.1f} ms"
            f"{figures['milliseconds_p95']:>7.1f} ms  {share:>8}  {each.note}"
        )
    return "\n".join(lines)
