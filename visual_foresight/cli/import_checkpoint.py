"""`visual-foresight import-checkpoint`: a checkpoint of the original TensorFlow 1 code becomes a saved predictor."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from visual_foresight.predictor import PredictorConfig

HELP = "turn a checkpoint of the original TensorFlow 1 code into a saved predictor"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; what is left out is read from the checkpoint's shapes, what is given is checked."""
    parser.add_argument(
        "path", help="the checkpoint's prefix (PREFIX.index exists), one of its files, or its directory"
    )
    parser.add_argument("out", help="directory of the saved predictor to write")
    parser.add_argument("--model", choices=["CDNA", "DNA", "STP"], type=str.upper, help="transformation")
    parser.add_argument("--num_masks", type=int, help="number of masks")
    parser.add_argument("--use_state", type=int, choices=[0, 1], help="whether actions and states reach the image path")
    parser.add_argument(
        "--image_size",
        type=int,
        nargs=2,
        metavar=("ROWS", "COLUMNS"),
        help="image size [px], multiples of 8, where the shapes leave it open",
    )
    parser.add_argument("--context_frames", type=int, default=2, help="true frames before the predictor's own")
    parser.add_argument("--overwrite", action="store_true", help="replace a predictor that is already there")
    parser.add_argument("--json", action="store_true", help="report as JSON")


def run(args: argparse.Namespace) -> int:
    """Import, save, and say what was found."""
    out = Path(args.out)
    if out.exists() and not args.overwrite:
        raise ValueError(f"{out} exists; choose another name or pass --overwrite")
    check_image_size(args.image_size)
    from visual_foresight.predictor import VideoPredictor

    predictor = VideoPredictor.from_tf1_checkpoint(
        args.path, image_size=args.image_size and tuple(args.image_size), context_frames=args.context_frames
    )
    check_wishes(args, predictor.config)
    predictor.save(out)
    count = predictor.count_params()
    if args.json:
        print(json.dumps({"directory": str(out), "config": predictor.config.to_json(), "num_parameters": count}))
        return 0
    config = predictor.config
    print(
        f"{out}: {config.transformation.upper()}, {config.num_masks} masks, "
        f"{config.image_height}x{config.image_width}, use_state={int(config.use_state)}, {count:,} parameters"
    )
    return 0


def check_image_size(size: list[int] | None) -> None:
    """Refuse sizes that the original network cannot have, whatever the checkpoint.

    Raises:
        ValueError: says which sizes there are.
    """
    if size is not None and any(side < 8 or side % 8 for side in size):
        raise ValueError(
            f"--image_size {size[0]} {size[1]}: rows and columns must be multiples of 8 px, as in --image_size 64 64"
        )


def check_wishes(args: argparse.Namespace, config: "PredictorConfig") -> None:
    """Compare what was asked for with what the checkpoint's shapes say.

    Raises:
        ValueError: they differ; names the option.
    """
    found = {
        "model": config.transformation.upper(),
        "num_masks": config.num_masks,
        "use_state": int(config.use_state),
    }
    for name, value in found.items():
        wish = getattr(args, name)
        if wish is not None and wish != value:
            raise ValueError(
                f"{args.path} was trained with --{name}={value}, but --{name}={wish} was asked for; "
                f"leave --{name} out to take it from the checkpoint"
            )
