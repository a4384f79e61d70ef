"""What every writer of files shares: errors that name the file, and appending whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def naming_file(path: str | os.PathLike, temporary: Path | None = None) -> Iterator[None]:
    """Let an error of the operating system name the file that is written in this block.

    `write` tells no name, so a full disk would be reported without one, and the name of a temporary file says nothing
    to the person who asked for the file.

    Args:
        path: the file or folder as its reader will know it.
        temporary: where it is written until it is whole; errors about other files keep their name then.
    """
    try:
        yield
    except OSError as error:
        known = _known_name(error.filename, Path(path), temporary)
        if error.errno is not None and known is not None:
            error.filename = os.fspath(known)
            if error.filename2 is not None:  # of a rename; None would be printed as a name
                del error.filename2
        raise


def _known_name(name: object, path: Path, temporary: Path | None) -> Path | None:
    if temporary is None or not isinstance(name, str):
        return path
    return path / Path(name).relative_to(temporary) if Path(name).is_relative_to(temporary) else None


def append_whole(path: str | os.PathLike, data: bytes) -> None:
    """Append to a file, which is made if absent: all of the data, or nothing where the disk fills up half way.

    Raises:
        OSError: names the file.
    """
    with naming_file(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            before = os.fstat(descriptor).st_size
            try:
                written = 0
                while written < len(data):  # a disk that is about to be full takes a part, and refuses at the next call
                    written += os.write(descriptor, data[written:])
            except BaseException:
                with suppress(OSError):  # a device cannot be cut
                    os.ftruncate(descriptor, before)
                raise
        finally:
            os.close(descriptor)
