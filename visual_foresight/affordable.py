"""What cannot be done on this machine, or by nobody, is refused before it runs until memory, disk or patience end.

Estimates are far below the truth, so that what is refused certainly does not fit.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def memory_bytes() -> int:
    """The machine's memory [bytes]."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def require_at_most(name: str, value: int, most: int, why: str) -> None:
    """Refuse a number that only a slip of the hand can mean.

    Args:
        name: of the option or argument.
        value: what was given.
        most: the largest that is taken.
        why: what larger ones would do.

    Raises:
        ValueError: it is larger.
    """
    if value > most:
        raise ValueError(f"{name} must be at most {most:,} ({why}), got {value:,}")


def require_memory(what: str, needed: int, advice: str) -> None:
    """Refuse what cannot fit the machine's memory.

    Args:
        what: that needs it, with its numbers.
        needed: the least that it can need [bytes].
        advice: how to need less.

    Raises:
        ValueError: the machine has less.
    """
    if needed > memory_bytes():
        raise ValueError(
            f"{what} need at least {_size(needed)} of memory, and this machine has {_size(memory_bytes())}: {advice}"
        )


def require_disk(folder: Path, what: str, needed: int, advice: str) -> None:
    """Refuse what cannot fit the disk that a folder is on, beside what is there already.

    Args:
        folder: need not exist.
        what: that needs it, with its numbers.
        needed: the least that it can need [bytes], what the folder holds included.
        advice: how to need less.

    Raises:
        ValueError: there is less.
    """
    held = sum(file.stat().st_size for file in folder.glob("*") if file.is_file())
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    room = shutil.disk_usage(place).free + held
    if needed > room:
        raise ValueError(f"{what} need at least {_size(needed)}, and {place} has room for {_size(room)}: {advice}")


def _size(num_bytes: int) -> str:
    """Bytes as a person says them."""
    return f"{num_bytes / 1e9:,.1f} GB"
