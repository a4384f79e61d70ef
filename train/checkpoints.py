"""Checkpoints of a training run: complete or absent, bounded in number, enough to continue exactly."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from visual_foresight.output_files import naming_file
from visual_foresight.predictor.description import WEIGHTS_FILE, read_description, sha256_of
from visual_foresight.train.config import TrainingConfig

FORMAT_VERSION = 1
LAST, BEST = "last", "best"
_STATE_JSON, _STATE_ARRAYS = "training_state.json", "training_state.npz"
_NAME = re.compile(r"iteration_(\d{8})")
_PARTIAL = ".partial-"


@dataclass(frozen=True, eq=False)
class TrainingState:
    """What a run needs, besides the predictor, to continue as if it had never stopped.

    Random numbers need no state of their own: batch i and its sampling mask are pure functions of the seed and i, and
    the position in the data is the iteration.

    Args:
        iteration: gradient steps made.
        config: of the run.
        fingerprint: of the data.
        optimizer: one array for each variable of the optimizer, in its order.
        progress: JSON-plain: best figures so far, validations since, seconds.
    """

    iteration: int
    config: TrainingConfig
    fingerprint: str
    optimizer: Sequence[np.ndarray]
    progress: Mapping[str, Any]


class CheckpointFolder:
    """The checkpoints in one output folder.

    Each is a folder `iteration_00002000`: a whole predictor directory, which loads with nothing else given, and the
    training state. It is written under another name and renamed, so it is complete or absent; `last` and `best` are
    links that are replaced in one step. The newest `keep` stay, and whatever `best` points to.

    Args:
        directory: the output folder.
        keep: how many of the newest to keep.
    """

    def __init__(self, directory: str | Path, keep: int) -> None:
        """Looks at the folder; nothing is changed before `open`."""
        self.directory = Path(directory)
        self._keep = keep

    def open(self, *, clear: bool = False) -> None:
        """Makes the folder, and removes what an interrupted writer left.

        Args:
            clear: remove the checkpoints of an earlier run as well, and nothing else in the folder.

        Raises:
            ValueError: a folder stands where a link belongs.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        for name in (LAST, BEST):
            if (self.directory / name).is_dir() and not (self.directory / name).is_symlink():
                raise ValueError(
                    f"{self.directory / name} is a folder where a link belongs: the run was copied without its links. "
                    "Remove that folder if the iteration_... that it is a copy of is there, or copy the run with cp -a"
                )
        for leftover in self.directory.iterdir():
            if leftover.name.lstrip(".").startswith(_PARTIAL.lstrip(".")) and leftover.name.startswith("."):
                _remove(leftover)
        if clear:
            for name in (LAST, BEST):
                (self.directory / name).unlink(missing_ok=True)
            for iteration in self.iterations():
                _remove(self.directory / f"iteration_{iteration:08d}")

    def path(self, name: str) -> Path | None:
        """The checkpoint that `last` or `best` points to, or None.

        Where the one that `last` points to was removed because it was damaged, the newest that there is.
        """
        link = self.directory / name
        if name == LAST and link.is_symlink() and not link.exists() and self.iterations():
            return (self.directory / f"iteration_{self.iterations()[-1]:08d}").resolve()
        return link.resolve() if link.exists() else None

    def iterations(self) -> list[int]:
        """Iterations of the checkpoints there are, ascending."""
        matches = (_NAME.fullmatch(entry.name) for entry in self.directory.iterdir())
        return sorted(int(match[1]) for match in matches if match)

    def save(self, predictor: Any, state: TrainingState, *, best: bool) -> Path:
        """Writes a checkpoint, points `last` (and `best`) to it, and removes those that are no longer kept.

        Raises:
            OSError: the disk is full or not writable; names the file, and earlier checkpoints are untouched.
        """
        final = self.directory / f"iteration_{state.iteration:08d}"
        if not final.exists():
            self._write(final, predictor, state)
        else:  # the same iteration again: only what the run knows about itself can have changed
            _write_state(final, state)
        self._point(LAST, final)
        if best:
            self._point(BEST, final)
        self._prune()
        return final

    def _write(self, final: Path, predictor: Any, state: TrainingState) -> None:
        temporary = self.directory / f"{_PARTIAL}{os.getpid()}-{state.iteration}"
        try:
            with naming_file(final, temporary):
                predictor.save(temporary)
                _write_state(temporary, state)
                _synchronise(temporary)
                os.rename(temporary, final)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)  # it may be what fills the disk
            raise

    def _point(self, name: str, target: Path) -> None:
        temporary = self.directory / f"{_PARTIAL}{os.getpid()}-{name}"
        temporary.unlink(missing_ok=True)
        with naming_file(self.directory / name):
            temporary.symlink_to(target.name)
            os.replace(temporary, self.directory / name)

    def _prune(self) -> None:
        pointed = {self.path(LAST), self.path(BEST)}
        for iteration in self.iterations()[: -self._keep]:
            folder = self.directory / f"iteration_{iteration:08d}"
            if folder.resolve() not in pointed:
                # Renamed first, so that an interruption leaves no folder that looks whole and is not.
                doomed = self.directory / f"{_PARTIAL}{os.getpid()}-old-{iteration}"
                os.rename(folder, doomed)
                shutil.rmtree(doomed)


def check_weights(checkpoint: str | Path) -> None:
    """Make sure that the predictor of a checkpoint is whole.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: one is damaged; says how to go on.
    """
    folder = Path(checkpoint)
    weights = folder / WEIGHTS_FILE
    try:
        expected = read_description(folder)["weights_sha256"]
        if not weights.is_file() or sha256_of(weights) != expected:
            raise ValueError(f"{weights} is truncated or changed, or missing")
    except (ValueError, FileNotFoundError) as error:
        raise type(error)(f"{error}; {_remedy(folder)}") from error


def read_state(checkpoint: str | Path) -> TrainingState:
    """Read the training state of a checkpoint folder.

    Raises:
        FileNotFoundError: it holds no training state (a predictor alone cannot be resumed).
        ValueError: it is damaged or of another format version.
    """
    folder = Path(checkpoint)
    for name in (_STATE_JSON, _STATE_ARRAYS):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder} lacks {name}: it can be trained further with --init_from, but not resumed exactly"
            )
    try:
        notes = json.loads((folder / _STATE_JSON).read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{folder / _STATE_JSON} is damaged ({error}); {_remedy(folder)}") from error
    if notes.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{folder / _STATE_JSON} has format version {notes.get('format_version')!r}; "
            f"this program reads {FORMAT_VERSION}"
        )
    content = (folder / _STATE_ARRAYS).read_bytes()
    if hashlib.sha256(content).hexdigest() != notes["sha256"]:
        raise ValueError(f"{folder / _STATE_ARRAYS} is damaged: its checksum differs; {_remedy(folder)}")
    with np.load(folder / _STATE_ARRAYS, allow_pickle=False) as arrays:
        optimizer = [arrays[f"optimizer_{index}"] for index in range(len(arrays.files))]
    config = TrainingConfig.from_json(json.dumps(notes["config"]))
    return TrainingState(notes["iteration"], config, notes["fingerprint"], optimizer, notes["progress"])


def _remedy(folder: Path) -> str:
    return f"remove {folder}, and --resume goes on from the checkpoint before it"


def restore_optimizer(optimizer: Any, arrays: Sequence[np.ndarray]) -> None:
    """Assign saved arrays to the variables of a built optimizer.

    Raises:
        ValueError: their number or a shape differs.
    """
    shapes = [tuple(variable.shape) for variable in optimizer.variables]
    found = [array.shape for array in arrays]
    if shapes != found:
        raise ValueError(
            f"the saved optimizer state does not fit this network: {len(found)} arrays for {len(shapes)} variables"
        )
    for variable, array in zip(optimizer.variables, arrays, strict=True):
        variable.assign(array)


def optimizer_arrays(optimizer: Any) -> list[np.ndarray]:
    """The variables of an optimizer as arrays, in their order."""
    return [np.asarray(variable.numpy()) for variable in optimizer.variables]


def _write_state(folder: Path, state: TrainingState) -> None:
    arrays: dict[str, Any] = {f"optimizer_{index}": array for index, array in enumerate(state.optimizer)}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    content = buffer.getvalue()
    notes = {
        "format_version": FORMAT_VERSION,
        "iteration": state.iteration,
        "config": json.loads(state.config.to_json()),
        "fingerprint": state.fingerprint,
        "progress": state.progress,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    files = {folder / _STATE_ARRAYS: content, folder / _STATE_JSON: json.dumps(notes, indent=2).encode()}
    temporaries = [path.with_name(f".{path.name}") for path in files]
    try:
        # Both are on the disk before the first takes its place: one of another moment would not fit the other.
        for temporary, (path, each) in zip(temporaries, files.items(), strict=True):
            with naming_file(path):
                temporary.write_bytes(each)
        for temporary, path in zip(temporaries, files, strict=True):
            os.replace(temporary, path)
    finally:
        for temporary in temporaries:
            temporary.unlink(missing_ok=True)


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path)


def _synchronise(folder: Path) -> None:
    """Waits until the files are on the disk: a rename must not survive a power cut that its content does not."""
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            with naming_file(path):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
