"""What is known about objectives: one entry for all of a kind."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from visual_foresight.planners.objectives.parts import Parts

__all__ = ["KeptByKind", "is_one_for_good", "reference_to"]

Value = TypeVar("Value")


class KeptByKind(Generic[Value]):
    """Entries for objectives, made when they are first asked for.

    Objectives that say which of their arrays are inputs (``compiled_inputs``) share an entry with all that differ from
    them in these only. Of others each has its own, or equal ones that have a hash one together; it goes when the caller
    lets the objective go. Whether its settings change meanwhile nobody looks: what is compiled holds those of then.

    Args:
        most: so many kinds are kept, those asked for last.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kinds: OrderedDict[Hashable, Value] = OrderedDict()
        self._equal: weakref.WeakKeyDictionary[Any, Value] = weakref.WeakKeyDictionary()
        self._single: dict[int, Value] = {}  # by identity

    def of(self, objective: Any, parts: Parts | None, make: Callable[[], Value]) -> Value:
        """The entry of an objective.

        Args:
            objective: any.
            parts: of it, see `take_apart`.
            make: makes the entry; called if there is none, and each time for an objective that nobody can remember.
        """
        if parts is not None:
            return self._of_kind(parts.key, make)
        if not _takes_references(objective):
            return make()
        if not _has_hash(objective):
            return self._of_single(objective, make)
        if objective not in self._equal:
            self._equal[objective] = make()
        return self._equal[objective]

    def _of_kind(self, key: Hashable, make: Callable[[], Value]) -> Value:
        if key not in self._kinds:
            self._kinds[key] = make()
        self._kinds.move_to_end(key)
        while len(self._kinds) > self._most:
            self._kinds.popitem(last=False)
        return self._kinds[key]

    def _of_single(self, objective: Any, make: Callable[[], Value]) -> Value:
        place = id(objective)
        if place not in self._single:
            self._single[place] = make()
            weakref.finalize(objective, self._single.pop, place, None)
        return self._single[place]


def reference_to(objective: Any) -> Callable[[], Any]:
    """A weak reference: what is compiled for an objective must not keep it. A strong one where there is no weak one."""
    return weakref.ref(objective) if _takes_references(objective) else lambda: objective


def is_one_for_good(objective: Any) -> bool:
    """Whether it can be known again, and is not just what it holds at the moment, as a data class without a hash is."""
    return _takes_references(objective) and _has_hash(objective)


def _has_hash(objective: Any) -> bool:
    try:
        hash(objective)
    except TypeError:
        return False
    return True


def _takes_references(objective: Any) -> bool:
    try:
        weakref.ref(objective)
    except TypeError:
        return False
    return True
