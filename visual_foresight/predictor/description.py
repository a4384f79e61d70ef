"""What a saved predictor says of itself, read without Keras, which takes seconds to load."""

import hashlib
import json
from pathlib import Path
from typing import Any

FORMAT = "visual-foresight predictor"
FORMAT_VERSION = 1
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.weights.h5"


def read_description(directory: str | Path) -> dict[str, Any]:
    """The checked content of a saved predictor's `config.json`, without its weights.

    Raises:
        FileNotFoundError: the directory or the file is missing.
        ValueError: it is corrupt, of another format, or of another format version.
    """
    path = Path(directory) / CONFIG_FILE
    if not Path(directory).is_dir():
        raise FileNotFoundError(f"{directory} is no directory; a saved predictor is a directory with {CONFIG_FILE}")
    if not path.is_file():
        best = Path(directory) / "best"
        hint = f"; {directory} is a training run: pass {best}" if (best / CONFIG_FILE).is_file() else ""
        raise FileNotFoundError(f"{path} is missing; a saved predictor is {CONFIG_FILE} and {WEIGHTS_FILE}{hint}")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is truncated or corrupt: {error}") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise ValueError(f"{path} describes no saved predictor (its format is not {FORMAT!r})")
    found = description.get("format_version")
    if found != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {found!r}, this program reads version {FORMAT_VERSION}; "
            "update visual-foresight, or save the predictor again with it"
        )
    missing = [
        key for key in ("config", "statistics", "metadata", "versions", "weights_sha256") if key not in description
    ]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}; the file was changed or cut")
    return description


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
