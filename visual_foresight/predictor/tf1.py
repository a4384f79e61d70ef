"""Import of checkpoints that the original TensorFlow 1 code wrote (V2 format of its Saver).

A full training checkpoint of it holds 264 variables for CDNA: 52 weights `model/<layer>/weights`, their Adam slots
`model/model/<layer>/weights/Adam` and `.../Adam_1`, a second set of slots of the validation model's useless optimizer
under `val_model/model/...`, and two powers each. So variables are chosen by exact name, never by pattern.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from visual_foresight import backend
from visual_foresight.predictor.config import SIZE_MULTIPLE, PredictorConfig

if TYPE_CHECKING:
    from visual_foresight.predictor.predictor import VideoPredictor

PREFIX = "model/"
OPTIMIZER_SCOPES = ("model/", "val_model/")
OPTIMIZER_SCALARS = ("beta1_power", "beta2_power")
SLOTS = ("Adam", "Adam_1")
# Channels of the original at full width, where the shapes tell the width and the image's size.
FIRST_CHANNELS, LAST_CHANNELS = 32, 128


def import_checkpoint(
    path: str | Path,
    *,
    transformation: str | None = None,
    num_masks: int | None = None,
    use_state: bool | None = None,
    image_size: tuple[int, int] | None = None,
    context_frames: int = 2,
    dtype: Any = None,
) -> "VideoPredictor":
    """Make a predictor from a checkpoint of the original code.

    Args:
        path: the checkpoint's prefix (`.../model2002`), one of its files, or the directory that holds it.
        transformation: "cdna", "dna" or "stp"; None: from the variables' names.
        num_masks: None: from the mask layer's shape.
        use_state: None: from the shape of `conv4`.
        image_size: (rows, columns) [px]; None: from the shapes, a square (64x64 for dna, whose shapes do not tell).
        context_frames: what the predictor's config shall say; a checkpoint does not know.
        dtype: Keras dtype policy of the backbone.

    Returns:
        A `seed` predictor with identity statistics (the original did not normalise).

    Raises:
        FileNotFoundError: there is no checkpoint at `path`.
        ValueError: it is truncated or corrupt, of another network, or contradicts an argument; missing, surplus and
            wrongly shaped variables are named in one message.
        ImportError: TensorFlow is not installed.
    """
    from visual_foresight.predictor.predictor import VideoPredictor

    prefix = find_prefix(path)
    reader, shapes = _open(prefix)
    config = infer_config(shapes, image_size=image_size, context_frames=context_frames, source=str(prefix))
    _check_wishes(config, prefix, transformation=transformation, num_masks=num_masks, use_state=use_state)
    predictor = VideoPredictor(config, metadata=_metadata(prefix), dtype=dtype)
    variables = {PREFIX + name: variable for name, variable in predictor.backbone.original_variables().items()}
    verify_variables(shapes, {name: tuple(variable.shape) for name, variable in variables.items()}, str(prefix))
    for name, variable in variables.items():
        variable.assign(_read(reader, name, prefix))
    return predictor


def find_prefix(path: str | Path) -> Path:
    """The checkpoint's prefix from the prefix itself, one of its files, or its directory.

    Raises:
        FileNotFoundError: there is none; ValueError: a directory holds several and does not say which is the latest.
    """
    path = Path(path)
    if path.is_dir():
        return _latest_in(path)
    name = path.name
    if name.endswith(".index") or name.endswith(".meta"):
        path = path.with_name(name.rsplit(".", 1)[0])
    elif ".data-" in name:
        path = path.with_name(name.split(".data-")[0])
    index = path.with_name(path.name + ".index")
    if not index.is_file():
        raise FileNotFoundError(
            f"no checkpoint at {path}: {index.name} is missing; pass the prefix of a V2 checkpoint "
            "(PREFIX.index and PREFIX.data-00000-of-00001 stand side by side)"
        )
    return path


def _latest_in(directory: Path) -> Path:
    record = directory / "checkpoint"
    if record.is_file():
        for line in record.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model_checkpoint_path":
                # The record may hold the path of the machine that wrote it; only the name is sure.
                return find_prefix(directory / Path(value.strip().strip('"')).name)
    found = sorted(directory.glob("*.index"))
    if not found:
        raise FileNotFoundError(f"no checkpoint in {directory}: it holds no file PREFIX.index")
    if len(found) > 1:
        names = ", ".join(path.stem for path in found[:5])
        raise ValueError(f"{directory} holds {len(found)} checkpoints ({names}...); pass the prefix of one")
    return find_prefix(found[0])


def _open(prefix: Path) -> tuple[Any, dict[str, tuple[int, ...]]]:
    """The reader and the shape of every variable."""
    tensorflow = backend.import_tensorflow()
    try:
        reader = tensorflow.train.load_checkpoint(str(prefix))
    except (tensorflow.errors.OpError, ValueError, RuntimeError, IndexError) as error:
        raise ValueError(f"{prefix}.index is truncated or corrupt: {_first_line(error)}") from error
    return reader, {name: tuple(shape) for name, shape in reader.get_variable_to_shape_map().items()}


def _read(reader: Any, name: str, prefix: Path) -> np.ndarray:
    tensorflow = backend.import_tensorflow()
    try:
        values = reader.get_tensor(name)
    except (tensorflow.errors.OpError, ValueError, RuntimeError, IndexError) as error:
        raise ValueError(f"{prefix}: variable {name} is truncated or corrupt: {_first_line(error)}") from error
    if not np.isfinite(values).all():
        raise ValueError(f"{prefix}: variable {name} holds values that are not finite; the training run diverged")
    return values


def infer_config(
    shapes: Mapping[str, tuple[int, ...]],
    *,
    image_size: tuple[int, int] | None = None,
    context_frames: int = 2,
    source: str = "the checkpoint",
) -> PredictorConfig:
    """Tell the predictor's config from the names and shapes of a checkpoint's variables.

    Args:
        shapes: shape of each variable by its full name.
        image_size: (rows, columns) [px] where the shapes leave it open.
        context_frames: passed through.
        source: the checkpoint, for messages.

    Raises:
        ValueError: the variables are not the original network's.
    """
    needed = ("convt7/weights", "conv4/weights", "conv3/weights", "state_pred/weights", "scale1_conv1/weights")
    missing = [PREFIX + name for name in needed if PREFIX + name not in shapes]
    if missing:
        raise ValueError(
            f"{source} is no checkpoint of the original video prediction model: it lacks {', '.join(missing)}; "
            f"it holds {len(shapes)} variables, for example {', '.join(sorted(shapes)[:3])}"
        )
    masks, conv3, conv4, robot, first = (
        shapes[PREFIX + name]
        for name in ("convt7/weights", "conv3/weights", "conv4/weights", "state_pred/weights", "scale1_conv1/weights")
    )
    transformation = "dna"
    if PREFIX + "cdna_params/weights" in shapes:
        transformation = "cdna"
    elif PREFIX + "fc_stp/weights" in shapes:
        transformation = "stp"
    width = first[-1] / FIRST_CHANNELS
    height, columns = _infer_image_size(shapes, transformation, width, image_size, source)
    return PredictorConfig(
        transformation=transformation,
        backbone="seed",
        image_height=height,
        image_width=columns,
        action_size=robot[0] - robot[1],
        state_size=robot[1],
        use_state=conv4[2] != conv3[3],
        num_masks=masks[2] - 1,
        kernel_size=_infer_kernel_size(shapes, transformation, masks[2] - 1, source),
        context_frames=context_frames,
        width=width,
    )


def _infer_kernel_size(shapes: Mapping[str, tuple[int, ...]], transformation: str, num_masks: int, source: str) -> int:
    if transformation == "stp":
        return PredictorConfig.kernel_size
    if transformation == "cdna":
        count = shapes[PREFIX + "cdna_params/weights"][1] // num_masks
    else:
        count = shapes.get(PREFIX + "convt4/weights", (1, 1, PredictorConfig.kernel_size**2, 0))[2]
    if math.isqrt(count) ** 2 != count:
        raise ValueError(f"{source}: a kernel of {count} taps is no square; the checkpoint is not of {transformation}")
    return math.isqrt(count)


def _infer_image_size(
    shapes: Mapping[str, tuple[int, ...]],
    transformation: str,
    width: float,
    wished: tuple[int, int] | None,
    source: str,
) -> tuple[int, int]:
    """Rows and columns; the head's number of inputs is the number of 8x8 cells times the channels."""
    if transformation == "dna":
        return wished or (PredictorConfig.image_height, PredictorConfig.image_width)
    head = "cdna_params/weights" if transformation == "cdna" else "fc_stp/weights"
    cells = shapes[PREFIX + head][0] // max(1, round(LAST_CHANNELS * width))
    side = math.isqrt(cells)
    if wished is None:
        if side * side == cells:
            return side * SIZE_MULTIPLE, side * SIZE_MULTIPLE
        raise ValueError(
            f"{source} was trained on images of {cells} cells of 8x8 pixels, which is no square; pass image_size "
            "(rows, columns)"
        )
    if (wished[0] // SIZE_MULTIPLE) * (wished[1] // SIZE_MULTIPLE) != cells:
        raise ValueError(
            f"image_size {tuple(wished)} does not fit {source}, which was trained on images of {cells} cells of 8x8 "
            "pixels"
        )
    return int(wished[0]), int(wished[1])


def verify_variables(
    shapes: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]], source: str
) -> None:
    """Compare a checkpoint's variables with those expected; optimizer state is allowed by exact name.

    Raises:
        ValueError: naming every missing, surplus and wrongly shaped variable.
    """
    allowed = set(expected)
    for scope in OPTIMIZER_SCOPES:
        allowed.update(scope + scalar for scalar in OPTIMIZER_SCALARS)
        allowed.update(f"{scope}{name}/{slot}" for name in expected for slot in SLOTS)
    faults = [f"missing {name} {list(shape)}" for name, shape in expected.items() if name not in shapes]
    faults += [f"surplus {name} {list(shapes[name])}" for name in sorted(shapes) if name not in allowed]
    faults += [
        f"{name} has the shape {list(shapes[name])}, expected {list(shape)}"
        for name, shape in expected.items()
        if name in shapes and shapes[name] != shape
    ]
    if faults:
        raise ValueError(f"{source} does not hold the expected variables: {'; '.join(faults)}")


def _check_wishes(config: PredictorConfig, prefix: Path, **wishes: Any) -> None:
    for field, wish in wishes.items():
        if wish is None:
            continue
        wish = wish.lower() if isinstance(wish, str) else wish
        if wish != getattr(config, field):
            raise ValueError(
                f"{prefix} was trained with {field}={getattr(config, field)!r}, but {field}={wish!r} was asked for; "
                f"leave {field} out to take it from the checkpoint"
            )


def _metadata(prefix: Path) -> dict[str, Any]:
    return {"preprocessing": {"preprocess": "seed"}, "source": {"kind": "tensorflow 1 checkpoint", "name": prefix.name}}


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
