"""How figures and facts are said to a person: counts, distances, settings, columns of a table."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: "1 step", "2 steps"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def some_of(names: Sequence[str], most: int = 3) -> str:
    """Return the first of many names: "a, b, c and 5 more"."""
    left = len(names) - most
    return ", ".join(names[:most]) + (f" and {left} more" if left > 0 else "")


def distance_text(distance: float, tolerance: float) -> str:
    """Return a distance [px] with one digit, or with as many more (four at most) as show on which side it lies.

    3.02 px where 3 px count as reached is "3.02 px", not "3.0 px".
    """
    texts = [f"{distance:.{digits}f}" for digits in range(1, 5)]
    honest = (text for text in texts if (float(text) <= tolerance) == (distance <= tolerance))
    return f"{next(honest, texts[-1])} px"


def fact_text(value: Any) -> str:
    """Return a setting as a person writes it: "-" for None, "yes", "a, b", "name: value; name: value"."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {_inner(each)}" for name, each in value.items()) or "-"
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(_inner(each) for each in value) or "-"
    return str(value)


def _inner(value: Any) -> str:
    """A value inside another one: in brackets where it has parts of its own."""
    text = fact_text(value)
    return f"({text})" if isinstance(value, Mapping | list | tuple | set | frozenset) and value else text


def aligned(rows: Sequence[Sequence[str]], *, left: Iterable[int] = (0,)) -> str:
    """Return rows as columns of equal width with two spaces between them, those in `left` to the left."""
    left = set(left)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """What a refusal of an unknown name ends with: "; did you mean 'cem'?", or nothing where no name is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
