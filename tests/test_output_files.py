"""What is written is whole or absent, and an error says which file it was."""

import errno
import os

import pytest

from visual_foresight import output_files
from visual_foresight.output_files import append_whole, naming_file


def full():
    """What `write` raises on a full disk: no name."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_an_error_without_a_name_gets_the_one_of_the_file(tmp_path):
    """So does one that names the temporary file, or a file in the temporary folder; any other keeps its own."""
    path, temporary = tmp_path / "run", tmp_path / ".run-1"
    names = (temporary / "a" / "b.h5", tmp_path / "x")
    inside, elsewhere = (OSError(errno.ENOSPC, "full", str(name)) for name in names)
    for error, name in ((full(), path), (inside, path / "a" / "b.h5"), (elsewhere, tmp_path / "x")):
        with pytest.raises(OSError) as raised, naming_file(path, temporary):
            raise error
        assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(name))
    with pytest.raises(OSError) as raised, naming_file(path):
        os.replace(tmp_path / "a", tmp_path / "b")
    assert str(raised.value) == f"[Errno {errno.ENOENT}] {os.strerror(errno.ENOENT)}: '{path}'"


def test_a_line_that_finds_no_room_leaves_no_half(tmp_path, monkeypatch):
    """A disk takes what it has room for, and refuses the rest: the file is as before, and goes on with room."""
    path = tmp_path / "lines"
    append_whole(path, b"first\n")
    write, taken = os.write, []

    def nearly_full(descriptor, data):
        if taken:
            raise full()
        taken.append(write(descriptor, data[:3]))
        return taken[0]

    monkeypatch.setattr(output_files.os, "write", nearly_full)
    with pytest.raises(OSError) as raised:
        append_whole(path, b"second\n")
    assert raised.value.filename == str(path) and path.read_bytes() == b"first\n"
    monkeypatch.undo()
    append_whole(path, b"third\n")
    assert path.read_bytes() == b"first\nthird\n"
