"""`visual-foresight train`: the original's flags, and ours, made from the fields of `TrainingConfig`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from typing import Any

from visual_foresight.cli.unread import refuse_unread
from visual_foresight.train.config import CHOICES, GROUPS, TrainingConfig
from visual_foresight.train.places import find_training_shards

HELP = "train a predictor on recorded episodes"

_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares one option for each field, grouped."""
    groups = {name: parser.add_argument_group(name) for name in GROUPS}
    for item in dataclasses.fields(TrainingConfig):
        group = groups[item.metadata["group"]]
        shown = f" (default: {_shown(item.default)})" if item.default not in ("", ()) else ""
        options: dict[str, Any] = {"help": item.metadata["help"] + shown, "default": argparse.SUPPRESS}
        if isinstance(item.default, bool):
            group.add_argument(f"--{item.name}", nargs="?", const=True, type=_boolean, metavar="0|1", **options)
        elif item.name in CHOICES:
            names = CHOICES[item.name]
            kind: Any = str.upper if item.name == "model" else str
            group.add_argument(f"--{item.name}", type=kind, choices=names, metavar="|".join(names), **options)
        else:
            kind = _size if item.name == "image_size" else _TYPES[type(item.default)]
            group.add_argument(f"--{item.name}", type=kind, metavar=_metavar(item), **options)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Trains, and prints what came of it."""
    config = config_from_arguments(args)
    refuse_options_without_effect(args, config)
    from visual_foresight.train.data import check_memory

    check_memory(config)
    find_training_shards(config.data_dir)  # a wrong folder is answered before Keras is loaded, which takes seconds
    from visual_foresight.train import fit

    result = fit(config, show_progress=not args.quiet)
    if args.json:
        plain = {
            "iteration": result.iteration, "stopped": result.stopped, "seconds": round(result.seconds, 1),
            "last": str(result.last), "best": str(result.best), "best_iteration": result.best_iteration,
            "validation": result.validation,
        }  # fmt: skip
        print(json.dumps(plain, indent=2))
        return 0
    figures = result.validation
    print(
        f"{result.stopped} after {result.iteration} iterations and {result.seconds / 60:.1f} min: validation "
        f"PSNR {figures['psnr']:.2f} dB on its own predictions (copying the last frame: {figures['copy_psnr']:.2f} dB)"
    )
    print(f"best checkpoint: iteration {result.best_iteration}, {config.output_dir}/best")
    if result.stopped == "out of time":
        print("continue with the same command and --resume", file=sys.stderr)
    return 0


def refuse_options_without_effect(args: argparse.Namespace, config: TrainingConfig) -> None:
    """Refuse options that stand on the command line beside others that leave them without any effect.

    Raises:
        ValueError: names them.
    """
    if config.select != "regret":
        refuse_unread(args, ("bank",), f"--select={config.select} looks at no bank")
    if not config.follow_weight:
        refuse_unread(args, ("follow_points",), "without --follow_weight no points are followed")
    if not config.motion_weight:
        refuse_unread(args, ("motion_threshold", "motion_dilation"), "without --motion_weight all pixels count alike")
    if config.stride == 1 and not config.init_from:
        refuse_unread(args, ("shorten",), "a predictor without --stride makes no leaps to shorten")
    if not config.use_state:
        refuse_unread(args, ("state_weight",), "--use_state=0 predicts no states")


def config_from_arguments(args: argparse.Namespace) -> TrainingConfig:
    """The checked configuration of the options that were given.

    Raises:
        ValueError: an option is out of range or contradicts another; the message names it.
    """
    names = {item.name for item in dataclasses.fields(TrainingConfig)}
    given = {name: value for name, value in vars(args).items() if name in names}
    return TrainingConfig(**given).validate()


def _boolean(text: str) -> bool:
    lowered = text.lower()
    if lowered not in _TRUE + _FALSE:
        raise argparse.ArgumentTypeError(f"expected 0 or 1, got {text!r}")
    return lowered in _TRUE


def _whole_numbers(text: str) -> tuple[int, ...]:
    """No, one or more whole numbers with commas between them: `2,4,7,9`."""
    try:
        return tuple(int(part) for part in text.split(",")) if text.strip() else ()
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected whole numbers such as 2,4,7,9; got {text!r}") from None


def _size(text: str) -> tuple[int, ...]:
    """`64`, `48x64` or `48,64`."""
    try:
        numbers = tuple(int(part) for part in text.replace("x", ",").split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a size such as 64 or 48x64; got {text!r}") from None
    return numbers * 2 if len(numbers) == 1 else numbers


_TYPES = {int: int, float: float, str: str, tuple: _whole_numbers}


def _metavar(item: dataclasses.Field) -> str:
    if item.name == "image_size":
        return "HxW"
    return {int: "N", float: "X", tuple: "N,N,..."}.get(type(item.default), "PATH")


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
