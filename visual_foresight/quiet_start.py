"""Keeps the messages that TensorFlow writes while it starts away from the user.

TensorFlow's C++ code writes informational lines straight to file descriptor 2 while it is being imported, before its
own settings for the level of messages apply. The hook below holds that descriptor during the import of TensorFlow and
passes on every line that is not such chatter, so an error or a traceback is never lost.
"""

import importlib.abc
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

LEVEL_VARIABLE = "TF_CPP_MIN_LOG_LEVEL"
CHATTER = re.compile(
    rb"^([IW]\d{4} \d\d:\d\d"  # I0000 00:00:1795364091.471307    7495 port.cc:153] ...
    rb"|\d{4}-\d\d-\d\d .*: [IW] "
    rb"|WARNING: All log messages before absl::InitializeLog"
    rb"|To enable the following instructions:)"
)


def install() -> None:
    """Silence TensorFlow's start, unless the user asked for its messages or TensorFlow is loaded already.

    Level 3 is for the lines that come later: a machine without a GPU "fails to call cuInit" at level 2. A child process
    inherits it, and is silenced in the same way.
    """
    if os.environ.setdefault(LEVEL_VARIABLE, "3") != "3" or "tensorflow" in sys.modules:
        return
    if any(isinstance(finder, _TensorFlowFinder) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _TensorFlowFinder())


def without_chatter(text: bytes) -> bytes:
    """Return the lines of `text` that are not TensorFlow's start-up messages."""
    return b"".join(line for line in text.splitlines(keepends=True) if not CHATTER.match(line))


@contextmanager
def held_standard_error() -> Iterator[None]:
    """Hold what is written to file descriptor 2, then write on what is not chatter."""
    try:
        sys.stderr.flush()
        saved = os.dup(2)
    except (OSError, AttributeError, ValueError):  # no standard error to hold: a windowless or detached process
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
            held.seek(0)
            os.write(2, without_chatter(held.read()))


class _TensorFlowFinder(importlib.abc.MetaPathFinder):
    """Finds TensorFlow as everybody does, but loads it with standard error held. It serves once."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_quietly(module: ModuleType) -> None:
                with held_standard_error():
                    load(module)

            loader: Any = spec.loader
            loader.exec_module = load_quietly
        return spec
