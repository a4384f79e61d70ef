"""One shard of episodes, complete or absent."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from visual_foresight.episode import Episode
from visual_foresight.formats.record import RecordWriter
from visual_foresight.output_files import naming_file

__all__ = ["ShardWriter"]


class ShardWriter:
    """Write episodes to one file that appears under its name only when it is complete.

    Records go to a temporary name in the same folder; leaving the `with` block renames it, an exception removes it.

    Args:
        path: The file to write; its folder is made. An existing file is replaced at the end.
        format: "npz" or "push".
        encoding: "png", "jpeg", "original" or "raw" (the fastest to stream) for push, "deflate" or "raw" for npz; None
            takes the first of these.
        quality: JPEG quality, 1 to 100.

    Raises:
        ValueError: The format is unknown or cannot be written, or does not know the encoding.

    Example:
        ```python
        with ShardWriter(folder / "episodes-00000.npz", format="npz") as shard:
            shard.add(episode)
        ```
    """

    def __init__(
        self, path: str | os.PathLike[str], *, format: str = "npz", encoding: str | None = None, quality: int = 95
    ) -> None:
        """Check the arguments; the file is opened by the `with` statement."""
        from visual_foresight.formats import writable_format

        self.path = Path(path)
        self.num_episodes = 0
        self._format = writable_format(format)
        encoding = encoding or self._format.encodings[0]
        if encoding not in self._format.encodings:
            known = ", ".join(self._format.encodings)
            raise ValueError(f"format {format!r} stores frames as one of {known}, got {encoding!r}")
        if not 1 <= quality <= 100:
            raise ValueError(f"quality must be 1 to 100, got {quality}")
        self._encoding, self._quality = encoding, quality
        self._writer: RecordWriter | None = None
        self._temporary: Path | None = None

    def __enter__(self) -> ShardWriter:
        """Open the temporary file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with naming_file(self.path):
            handle, name = tempfile.mkstemp(prefix=f".{self.path.name}.", suffix=".partial", dir=self.path.parent)
        os.close(handle)
        self._temporary = Path(name)
        try:
            with naming_file(self.path):
                self._writer = self._format.open_writer(self._temporary, encoding=self._encoding, quality=self._quality)
        except BaseException:
            self._temporary.unlink(missing_ok=True)
            raise
        return self

    def add(self, episode: Episode) -> None:
        """Append one episode.

        Raises:
            ValueError: The writer is not open (use it in a `with` statement), or the format cannot hold the episode.
            OSError: The disk is full, for instance; names the file.
        """
        if self._writer is None:
            raise ValueError(f"the shard {self.path} is not open: use `with ShardWriter(...) as shard:`")
        if not isinstance(episode, Episode):
            raise ValueError(f"the shard {self.path} takes Episodes (visual_foresight.Episode), got {type(episode)!r}")
        with naming_file(self.path):
            self._writer.add(episode)
        self.num_episodes += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the file its name, or remove it when the block failed."""
        writer, temporary = self._writer, self._temporary
        self._writer = self._temporary = None
        if writer is None or temporary is None:
            return
        try:
            if kind is not None:
                with suppress(OSError):  # a full disk refuses this as well, and what failed first is what is told
                    writer.close()
                return
            with naming_file(self.path):
                writer.close()
                temporary.chmod(0o666 & ~_umask())  # mkstemp makes files that only their owner can read
                os.replace(temporary, self.path)
        finally:
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
