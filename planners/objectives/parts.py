"""An objective taken apart: arrays that change from decision to decision, and what stays.

So that one compiled function serves every goal. Only objectives that name such arrays in ``compiled_inputs`` are taken
apart; all else that they are made of must be the same for a compiled function to be used again.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Parts:
    """What an objective is made of.

    Args:
        key: equal for objectives that differ in ``values`` only.
        values: arrays, in a fixed order.
        rebuild: arrays or tensors in place of these to an objective like the first.
    """

    key: Hashable
    values: tuple[np.ndarray, ...]
    rebuild: Callable[[Sequence[Any]], Any]


def take_apart(objective: Any) -> Parts | None:
    """The parts of an objective; None where it, or a part of it, does not say which of its arrays are inputs."""
    values: list[np.ndarray] = []
    try:
        key = _key_of(objective, values)
        hash(key)
    except (_Opaque, TypeError):
        return None
    return Parts(key, tuple(values), _rebuilder(objective))


class _Opaque(Exception):
    """An objective that cannot be taken apart."""


def _key_of(objective: Any, values: list[np.ndarray]) -> Hashable:
    """What stays, as something that can be compared; arrays that may change are added to the values."""
    if not hasattr(type(objective), "compiled_inputs"):
        raise _Opaque
    items: list[Any] = [type(objective)]
    for name, value in sorted(vars(objective).items()):
        if name in type(objective).compiled_inputs and isinstance(value, np.ndarray):
            values.append(value)
            items.append((name, value.shape, value.dtype.str))
        elif _is_objective(value):
            items.append((name, _key_of(value, values)))
        elif isinstance(value, dict) and any(_is_objective(each) for each in value.values()):
            items.append((name, *((inner, _key_of(each, values)) for inner, each in value.items())))
        else:
            items.append((name, _frozen(value)))
    return tuple(items)


def _is_objective(value: Any) -> bool:
    return callable(value) and hasattr(value, "outputs") and hasattr(value, "explain")


def _frozen(value: Any) -> Hashable:
    """A value as one that can be hashed; arrays by what they hold, small objects by what they are made of."""
    if isinstance(value, np.ndarray):
        return ("array", value.shape, value.dtype.str, value.tobytes())
    if isinstance(value, dict):
        return ("dict", *((name, _frozen(each)) for name, each in value.items()))
    if isinstance(value, (list, tuple)):
        return (type(value), *(_frozen(each) for each in value))
    if type(value).__module__.startswith("visual_foresight.") and hasattr(value, "__dict__"):  # a homography, say
        return (type(value), *((name, _frozen(each)) for name, each in sorted(vars(value).items())))
    return value


def _rebuilder(objective: Any) -> Callable[[Sequence[Any]], Any]:
    template = _copied(objective)  # what the caller changes later must not change what was compiled

    def rebuild(values: Sequence[Any]) -> Any:
        remaining = iter(values)
        made = _filled(template, remaining)
        if next(remaining, None) is not None:
            raise ValueError("more values than the objective has inputs")
        return made

    return rebuild


def _copied(objective: Any) -> Any:
    """A copy down to the parts that are objectives; arrays and other settings are shared."""
    made = copy.copy(objective)
    for name, value in vars(objective).items():
        if _is_objective(value):
            setattr(made, name, _copied(value))
        elif isinstance(value, dict):
            setattr(made, name, {key: _copied(each) if _is_objective(each) else each for key, each in value.items()})
    return made


def _filled(template: Any, values: Iterator[Any]) -> Any:
    """A copy of the template with its inputs replaced, in the order of `_key_of`."""
    made = copy.copy(template)
    for name, value in sorted(vars(template).items()):
        if name in type(template).compiled_inputs and isinstance(value, np.ndarray):
            setattr(made, name, next(values))
        elif _is_objective(value):
            setattr(made, name, _filled(value, values))
        elif isinstance(value, dict):
            filled = {key: _filled(each, values) if _is_objective(each) else each for key, each in value.items()}
            setattr(made, name, filled)
    return made
