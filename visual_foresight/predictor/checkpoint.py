"""A saved predictor: one directory of `config.json` and `model.weights.h5`, whole or absent.

The config says everything that loading needs: format version, predictor config, statistics, metadata (preprocessing,
action names and limits, training), versions, and the weights' SHA-256. Nothing loaded can run code: numbers and a
record of registered names.
"""

import hashlib
import io
import json
import platform
import random
import shutil
import tempfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from visual_foresight.episode import Episode
from visual_foresight.output_files import naming_file
from visual_foresight.predictor.config import PredictorConfig
from visual_foresight.predictor.description import (
    CONFIG_FILE,
    FORMAT,
    FORMAT_VERSION,
    WEIGHTS_FILE,
    read_description,
    sha256_of,
)
from visual_foresight.statistics import Statistics
from visual_foresight.video_files import replace_folder

if TYPE_CHECKING:
    from visual_foresight.predictor.predictor import VideoPredictor

IMAGES_ALONE = (
    "was trained on images alone (--use_state=0): it foretells the same whatever the robot does; take one that was "
    "trained with actions"
)
"""Of a predictor, where actions are to be told apart by it."""


def save_predictor(predictor: "VideoPredictor", directory: str | Path) -> None:
    """Write a predictor as a directory: first beside its place under another name, then renamed.

    An earlier predictor there is replaced; a directory that is something else, or holds anything else, is left alone.
    A link to a directory is followed.

    Args:
        predictor: what to save; the optimizer's state is not part of it.
        directory: where; missing parents are made.

    Raises:
        ValueError: `directory` exists and holds something else, or the metadata are not JSON-plain.
        OSError: the disk is full or not writable; names the file.
    """
    weights = weights_bytes(_WeightsHolder(predictor.backbone))
    text = _to_text(_describe(predictor, hashlib.sha256(weights).hexdigest()), Path(directory))
    write_model_folder(directory, weights, text, kind="saved predictor", file_format=FORMAT)


def write_model_folder(directory: str | Path, weights: bytes, text: str, *, kind: str, file_format: str) -> None:
    """Write weights and what describes them as a directory, whole or not at all.

    Args:
        directory: where; one of the same kind is replaced, a link to a directory is followed.
        weights: of the network.
        text: JSON.
        kind: what it is, for the message.
        file_format: "format" of the description, by which others of its kind are known.

    Raises:
        ValueError: `directory` exists and holds something else.
        OSError: the disk is full or not writable; names the file.
    """
    directory = Path(directory)
    directory = directory.resolve() if directory.is_symlink() else directory
    if directory.exists() and not is_replaceable(directory, file_format):
        raise ValueError(
            f"{directory} exists and is no {kind}, or holds something else as well; it is left alone, choose "
            "another name"
        )
    directory.parent.mkdir(parents=True, exist_ok=True)
    with naming_file(directory):
        temporary = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        with naming_file(directory, temporary):
            for name, content in ((WEIGHTS_FILE, weights), (CONFIG_FILE, text.encode())):
                with naming_file(directory / name):
                    (temporary / name).write_bytes(content)
            temporary.chmod(0o755)
            replace_folder(temporary, directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def load_predictor(directory: str | Path, *, dtype: Any = None) -> "VideoPredictor":
    """Read a directory that `save_predictor` wrote.

    Args:
        directory: where it is.
        dtype: Keras dtype policy of the backbone; None: the global one. The stored weights are float32 anyway.

    Raises:
        FileNotFoundError: the directory or one of its files is missing.
        ValueError: a file is truncated or corrupt, of another format or format version, or its parts do not fit.
    """
    directory = Path(directory)
    description = read_description(directory)
    weights = directory / WEIGHTS_FILE
    if not weights.is_file():
        raise FileNotFoundError(f"{weights} is missing; a saved predictor is {CONFIG_FILE} and {WEIGHTS_FILE}")
    expected, found = description["weights_sha256"], sha256_of(weights)
    if found != expected:
        raise ValueError(
            f"{weights} is truncated or changed: its SHA-256 is {found[:12]}..., {CONFIG_FILE} says "
            f"{str(expected)[:12]}...; copy it again"
        )
    try:
        config = PredictorConfig.from_json(description["config"])
        statistics = Statistics.from_json(description["statistics"])
        predictor = _without_weights(config, statistics, description["metadata"], dtype)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{directory / CONFIG_FILE}: {error}") from error
    try:
        _WeightsHolder(predictor.backbone).load_weights(weights)
    except (ValueError, KeyError, OSError) as error:
        raise ValueError(f"{weights} does not fit the config beside it: {error}") from error
    predictor.metadata.setdefault("versions", description["versions"])
    return predictor


def _without_weights(config: Any, statistics: Any, metadata: Any, dtype: Any) -> "VideoPredictor":
    """A predictor whose weights are about to be read: Keras draws seeds for them from `random`, which is put back."""
    from visual_foresight.predictor.predictor import VideoPredictor

    state = random.getstate()
    try:
        return VideoPredictor(config, statistics, metadata, dtype=dtype)
    finally:
        random.setstate(state)


def require_match(
    config: PredictorConfig,
    *,
    image_size: tuple[int, int] | None = None,
    action_size: int | None = None,
    state_size: int | None = None,
    what: str = "the data",
) -> None:
    """Refuse data or an environment that a predictor was not made for.

    Args:
        config: the predictor's config.
        image_size: (rows, columns) [px]; None: not checked.
        action_size: numbers in an action; None: not checked.
        state_size: numbers in a state; None: not checked.
        what: what has these sizes, for the message.

    Raises:
        ValueError: naming every size that differs.
    """
    sizes: list[tuple[str, Any, Any]] = [
        ("image size", image_size and tuple(image_size), config.image_size),
        ("action dimension", action_size, config.action_size),
        ("state dimension", state_size, config.state_size),
    ]
    wrong = [f"{name} {got}, not {own}" for name, got, own in sizes if got is not None and got != own]
    if wrong:
        raise ValueError(f"the predictor does not fit: {what} has {'; '.join(wrong)}, which the predictor was made for")


def preprocess_of(metadata: Mapping[str, Any]) -> str:
    """How a predictor's frames were brought to size; "seed", the original's way, where its metadata do not say.

    Checkpoints that were imported before 2026-11-25 hold the name alone.
    """
    noted = metadata.get("preprocessing", {})
    return noted if isinstance(noted, str) else noted.get("preprocess", "seed")


def require_episode(config: PredictorConfig, metadata: Mapping[str, Any], episode: Episode, *, what: str) -> None:
    """Refuse an episode of other sizes than the predictor's, or without the actions or states that it was trained with.

    Zeros would be taken for those.

    Raises:
        ValueError: says what differs, or what is missing.
    """
    if not config.use_state:
        require_match(config, image_size=episode.image_size, what=what)
        return
    sizes = {"action_size": episode.action_size, "state_size": episode.state_size}
    require_match(config, image_size=episode.image_size, what=what, **sizes)
    missing = ["actions"] if episode.actions is None else []
    if episode.states is None and not is_stateless(metadata):
        missing.append("states")
    if missing:
        raise ValueError(
            f"{what} has no {' and no '.join(missing)}, which the predictor was trained with; predict from data that "
            "has them, or train on such data as this (for images alone with --use_state=0)"
        )


def is_stateless(metadata: Mapping[str, Any]) -> bool:
    """Whether a predictor was trained on a robot without sensors, so that zeros stand for its states."""
    return "states" in metadata.get("training", {}).get("data", {}).get("absent", ())


def is_replaceable(directory: Path, file_format: str = FORMAT) -> bool:
    """Whether saving may replace what is there: an empty directory, or a saved network of its kind and nothing else."""
    if not directory.is_dir():
        return False
    found = {path.name for path in directory.iterdir()}
    if not found:
        return True
    if CONFIG_FILE not in found or not found <= {CONFIG_FILE, WEIGHTS_FILE}:
        return False
    try:
        description = json.loads((directory / CONFIG_FILE).read_text(encoding="utf-8"))
    except ValueError:
        return False
    return isinstance(description, dict) and description.get("format") == file_format


def weights_bytes(model: keras.Model) -> bytes:
    """What Keras would write as a model's `.weights.h5`.

    HDF5 itself must not write to the disk: where that is full, it crashes the process or leaves a file that is cut off.
    """
    memory = _WeightsInMemory()
    model.save_weights(memory)
    content = memory.getvalue()
    if not content:  # as Keras before 3.10 did, which took the name for a path
        raise RuntimeError(f"Keras {keras.__version__} does not write weights into memory: install 3.10 or newer")
    return content


class _WeightsInMemory(io.BytesIO):
    """What Keras takes for a file of weights by its name."""

    def __str__(self) -> str:
        return WEIGHTS_FILE


class _WeightsHolder(keras.Model):
    """The backbone by itself: saving the predictor would save its optimizer with it."""

    def __init__(self, backbone: keras.layers.Layer) -> None:
        super().__init__(name="predictor")
        self.backbone = backbone
        self.built = True


def _describe(predictor: "VideoPredictor", weights_sha256: str) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "config": predictor.config.to_json(),
        "statistics": predictor.statistics.to_json(),
        "metadata": predictor.metadata,
        "versions": _versions(),
        "weights_sha256": weights_sha256,
    }


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "backend": keras.backend.backend()}
    for name in ("visual-foresight", "keras", keras.backend.backend(), "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # installed under another distribution's name, as tensorflow-cpu is
            continue
    return found


def _to_text(description: Mapping[str, Any], directory: Path) -> str:
    try:
        return json.dumps(description, indent=2, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"cannot save {directory}: the metadata must be plain JSON (no arrays, no NaN): {error}"
        ) from error
