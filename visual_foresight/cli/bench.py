"""`visual-foresight bench`: how fast this machine imagines, decides, trains, simulates and loads data."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visual_foresight.affordable import require_at_most
from visual_foresight.cli import control
from visual_foresight.cli.unread import refuse_unread

if TYPE_CHECKING:
    from visual_foresight.speed.measurement import Measurement

HELP = "measure speed beside this machine's limits; compare planners; decision time against scale"
WORKS = ("rollout", "decision", "published", "seed", "training", "data", "environment")
_OWN_RESULTS = ('{"measurements"', '{"comparison"', '{"scale"')  # how a file begins that `--output` may replace
_MOST_REPEATS = 100_000
USUAL = tuple(work for work in WORKS if work != "seed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    control.add_control_arguments(parser)
    group = parser.add_argument_group("measuring")
    group.add_argument(
        "--only",
        nargs="+",
        choices=WORKS,
        default=list(USUAL),
        help="what to measure; seed: fast against the original network, and that in bfloat16 (minutes on a CPU); "
        "published seed: on an accelerator also its published decision in bfloat16; data needs TensorFlow",
    )
    group.add_argument("--repeats", type=int, default=20, help="repetitions that count (a quarter for slow works)")
    group.add_argument("--warmup", type=int, default=2, help="repetitions before them, which do not")
    group.add_argument("--training_batches", type=int, nargs="+", default=[8], help="batch sizes of the training step")
    group.add_argument(
        "--compare", action="store_true", help="instead: other planners on the same costs (extra [compare])"
    )
    group.add_argument("--scale", action="store_true", help="instead: time of a decision against its size")
    group.add_argument("--seeds", type=int, default=5, help="of --compare: solves of each planner and cost")
    group.add_argument("--point_seconds", type=float, default=20.0, help="of --scale: a series ends beyond this time")
    group.add_argument("--charts", default=None, metavar="FILE.svg", help="of --scale: file for the charts")
    group.add_argument("--output", default=None, help="file for the results as JSON")
    group.add_argument("--json", action="store_true", help="print machine-readable JSON")


def run(args: argparse.Namespace) -> int:
    """Measure, and print a table."""
    for name in ("repeats", "warmup"):
        require_at_most(f"--{name}", getattr(args, name), _MOST_REPEATS, "each takes up to seconds")
    if args.repeats < 1 or args.warmup < 0:
        raise ValueError(f"--repeats must be at least 1 and --warmup 0, got {args.repeats} and {args.warmup}")
    if min(args.training_batches) < 1:
        raise ValueError(f"--training_batches must be at least 1 each, got {args.training_batches}")
    if args.seeds < 1:
        raise ValueError(f"--seeds must be at least 1, got {args.seeds}")
    if not args.point_seconds > 0:
        raise ValueError(f"--point_seconds must be positive, got {args.point_seconds}")
    _check_contradictions(args)
    if args.charts is not None:
        from visual_foresight.speed.scale import check_charts_name

        check_charts_name(Path(args.charts))
    from visual_foresight.video_files import check_own_file, write_text

    settings = control.ControlSettings.of(args)
    control.check_settings(settings)
    if args.simulator == "true":
        raise ValueError("bench measures the learned simulator; leave --simulator out")
    for path, own in ((args.output, _OWN_RESULTS), (args.charts, ("<svg", "<?xml"))):
        if path is not None:
            check_own_file(Path(path), "bench", partial(_begins_with, own))
    control.describe_model(args)  # a wrong name is answered before anything is measured
    results, text = _measure(args, settings)
    results |= _machine() | {"settings": settings.table(), "model": str(args.preset), "precision": args.precision}
    print(json.dumps(results) if args.json else text)  # first, for a full disk must not cost what took so long
    if args.output is not None:
        write_text(Path(args.output), json.dumps(results, indent=1) + "\n")
    return 0


def _check_contradictions(args: argparse.Namespace) -> None:
    """Refuse options of another measurement than the one that was asked for.

    Raises:
        ValueError: names them.
    """
    if args.charts is not None and not args.scale:
        raise ValueError("--charts belongs to --scale: add --scale, or leave --charts out")
    if args.compare and args.scale:
        raise ValueError("--compare and --scale are two measurements: ask for one at a time")
    if args.compare or args.scale:
        instead = "--compare" if args.compare else "--scale"
        refuse_unread(args, ("only", "training_batches"), f"{instead} is another measurement")
    elif "training" not in args.only:
        refuse_unread(args, ("training_batches",), f"--only {' '.join(args.only)} measures no training")
    if not args.compare:
        refuse_unread(args, ("seeds",), "solves are counted with --compare only")
    if not args.scale:
        refuse_unread(args, ("point_seconds",), "series end early with --scale only")


def _begins_with(beginnings: tuple[str, ...], text: str) -> bool:
    """Whether a text begins with one of them, spaces aside."""
    return "".join(text[:200].split()).startswith(beginnings)


def _measure(args: argparse.Namespace, settings: control.ControlSettings) -> tuple[dict[str, Any], str]:
    if args.compare:
        from visual_foresight.speed.comparison import compare, comparison_table

        compared = compare(args, settings)
        return compared, comparison_table(compared)
    if args.scale:
        from visual_foresight.speed.scale import measure_scale, scale_table, write_charts

        scaled = measure_scale(args, settings)
        if args.charts is not None:
            write_charts(Path(args.charts), scaled)
        return scaled, scale_table(scaled)
    measured = []
    for each in measurements(args, settings):
        measured.append(each)
        print(f"{each.name}: {each.rate:.4g} {each.unit}/s", file=sys.stderr)
    # Some works bound others: a step of the environment is bounded by drawing its frame.
    named = {each.limit for each in measured}
    limits = {each.name: each.rate for each in measured if each.name in named}
    return {"measurements": [each.to_json(limits) for each in measured]}, table(measured, limits)


def _machine() -> dict[str, Any]:
    """What a result depends on beside the settings."""
    import datetime
    import os

    from visual_foresight.backend import device_kind
    from visual_foresight.cli.doctor import usable_cores
    from visual_foresight.report import versions

    return {
        "date": datetime.date.today().isoformat(),
        "device": device_kind(),
        "cores": usable_cores(),
        "load_average": round(os.getloadavg()[0], 2),
        "versions": versions(),
    }


def measurements(args: argparse.Namespace, settings: control.ControlSettings) -> Iterator["Measurement"]:
    """Yield the measurements that were asked for, the limits of the machine first."""
    import gymnasium

    import visual_foresight  # noqa: F401  registers the environments
    from visual_foresight.speed import limits, simulating

    times: dict[str, Any] = {"repeats": args.repeats, "warmup": args.warmup}
    yield from limits.measure_limits(**times)
    with closing(gymnasium.make(control.DEFAULT_ENVIRONMENT)) as environment:
        if "environment" in args.only:
            yield from simulating.measure_environment(environment, **times)
        if "data" in args.only:
            yield from _feeding(**times)
        if {"rollout", "decision", "published", "seed"} & set(args.only):
            yield from _imagining(args, settings, environment)
    if "training" in args.only:
        yield from _training(args)


def _feeding(**times: Any) -> Iterator["Measurement"]:
    """Pipelines read by TensorFlow; left out, with the reason, where it is not installed."""
    from visual_foresight.speed import feeding

    try:
        measured = feeding.measure_data(**times)
    except ImportError as error:
        print(f"data is left out: {error}", file=sys.stderr)
        return
    yield from measured


def _imagining(
    args: argparse.Namespace, settings: control.ControlSettings, environment: Any
) -> Iterator["Measurement"]:
    from visual_foresight.backend import device_kind
    from visual_foresight.simulator import LearnedSimulator
    from visual_foresight.speed import imagining

    times: dict[str, Any] = {"repeats": args.repeats, "warmup": args.warmup}
    slow = _slow(args)
    dtype = control.predictor_dtype(args)
    simulator = control.make_simulator("learned", environment, args.preset, dtype=dtype).simulator
    if "rollout" in args.only:
        sizes: dict[str, Any] = {"candidates": settings.candidates, "horizon": settings.horizon}
        yield imagining.measure_rollout(simulator, **times, **sizes)
    if "decision" in args.only:
        second = control.second_opinion(args)
        whole = control.make_imagination(
            "learned", environment, args.preset, dtype=dtype, second=second, penalty=args.disagreement_weight
        ).simulator
        yield imagining.measure_decision(environment, whole, settings, **times)
    if "published" in args.only:
        yield imagining.measure_published_decision(simulator, **times)
        if "seed" in args.only and device_kind() != "cpu":
            original = imagining.seed_predictor(simulator.predictor.config, dtype="mixed_bfloat16")
            name = "seed decision, published"
            yield imagining.measure_published_decision(LearnedSimulator(original), name=name, **times)
    if "seed" in args.only:
        yield from imagining.measure_against_seed(simulator, **slow)
        yield from imagining.measure_seed_precision(**slow)


def _slow(args: argparse.Namespace) -> dict[str, Any]:
    """Repetitions of works that take seconds each."""
    return {"repeats": max(1, args.repeats // 4), "warmup": min(args.warmup, 1)}


def _training(args: argparse.Namespace) -> Iterator["Measurement"]:
    from visual_foresight.speed import training

    slow = _slow(args)
    yield training.measure_fast_training(**slow)
    for batch_size in args.training_batches:
        yield from training.measure_seed_training(batch_size=batch_size, **slow)


def table(measured: Sequence["Measurement"], limits: dict[str, float]) -> str:
    """Return the measurements as a table; times are those of one repetition."""
    lines = [f"{'work':<33}{'rate':>14}  {'':<16}{'median':>10}{'p95':>12}  {'of its limit':>12}  sizes"]
    for each in measured:
        figures = each.to_json(limits)
        rate, unit = each.rate, f"{each.unit}/s"
        if each.unit in ("FLOP", "B"):
            rate, unit = rate / 1e9, f"G{each.unit}/s"
        share = f"{100 * figures['share_of_limit']:.0f} %" if figures.get("limit") not in (None, each.name) else ""
        lines.append(
            f"{each.name:<33}{rate:>14,.1f}  {unit:<16}{figures['milliseconds_median']:>7,.1f} ms"
            f"{figures['milliseconds_p95']:>9,.1f} ms  {share:>12}  {each.note}"
        )
        if each.facts:
            lines.append(
                "    " + ", ".join(f"{name.replace('_', ' ')} {_short(value)}" for name, value in each.facts.items())
            )
    return "\n".join(lines)


def _short(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)
