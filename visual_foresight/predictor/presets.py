"""Predictors by name: those that ship in the package, directories, and repositories of the Hugging Face hub."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from visual_foresight.predictor.description import CONFIG_FILE, WEIGHTS_FILE, read_description
from visual_foresight.wording import did_you_mean

if TYPE_CHECKING:
    from visual_foresight.predictor.predictor import VideoPredictor

PRESETS_DIRECTORY = Path(__file__).parents[1] / "presets"
HUB_SCHEME = "hf://"


def find_presets(root: Path = PRESETS_DIRECTORY) -> dict[str, Path]:
    """Name and directory of each predictor under `root`, sorted by name."""
    return {path.parent.name: path.parent for path in sorted(root.glob(f"*/{CONFIG_FILE}"))}


PRESETS = find_presets()


def load_preset(preset: str | Path, *, dtype: Any = None) -> "VideoPredictor":
    """Load a predictor by name, directory or hub address.

    Args:
        preset: a name in `PRESETS`, the path of a saved predictor, or `hf://organisation/name[@revision]`.
        dtype: Keras dtype policy of the backbone; None: the global one.

    Raises:
        ValueError: an unknown name; the valid ones and the nearest are listed.
        ImportError: a hub address without the extra that downloads it.
        FileNotFoundError: a path without a predictor.
    """
    directory = preset_directory(preset)
    from visual_foresight.predictor.checkpoint import load_predictor  # not before the name is known: it loads Keras

    return load_predictor(directory, dtype=dtype)


def describe_preset(preset: str | Path) -> dict[str, Any]:
    """The checked `config.json` of a preset, without loading it; raises as `load_preset` does."""
    return read_description(preset_directory(preset))


def preset_directory(preset: str | Path) -> Path:
    """The directory that a preset's name, path or hub address stands for; raises as `load_preset` does."""
    text = str(preset)
    if not text.strip():
        raise ValueError(f"a preset needs a name, a directory or an address, got {preset!r}")
    if text.startswith(HUB_SCHEME):
        return _download(text)
    presets = find_presets()
    if text in presets:
        return presets[text]
    if Path(preset).is_dir():
        return Path(preset)
    if isinstance(preset, Path) or "/" in text or "\\" in text or Path(preset).is_file():
        raise FileNotFoundError(f"{preset} is no directory, so there is no predictor to load")
    valid = ", ".join(presets) or "none in this installation"
    hint = did_you_mean(text, presets)
    raise ValueError(
        f"unknown preset {text!r}; valid names are: {valid}{hint} "
        "(the path of a saved predictor or hf://organisation/name work too)"
    )


def _download(address: str) -> Path:
    """Fetch a hub repository into the hub's own cache."""
    name, _, revision = address.removeprefix(HUB_SCHEME).partition("@")
    if name.count("/") != 1 or not all(name.split("/")):
        raise ValueError(
            f"{address!r} is no hub address; expected hf://organisation/name or hf://organisation/name@revision"
        )
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise ImportError(
            f"{address} needs huggingface_hub; install it with pip install 'visual-foresight[hub]'"
        ) from error
    return Path(snapshot_download(name, revision=revision or None, allow_patterns=[CONFIG_FILE, WEIGHTS_FILE]))
