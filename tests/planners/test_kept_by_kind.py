"""What is compiled for an objective serves its kind, and nothing else."""

import gc
from dataclasses import dataclass

import pytest

from visual_foresight.kept_by_kind import KeptByKind, reference_to
from visual_foresight.planners.objectives import PixelDistance
from visual_foresight.planners.objectives.parts import take_apart


class Plain:
    """Has a hash by its identity."""

    outputs = ("states",)

    def __init__(self, goal):
        self.goal = goal


@dataclass
class Unhashable:
    goal: float


@dataclass(frozen=True)
class Frozen:
    goal: float


class Slotted:
    """Takes no weak references."""

    __slots__ = ("goal",)

    def __init__(self, goal):
        self.goal = goal


@pytest.fixture
def kept():
    return KeptByKind(2)


def entry(kept, objective):
    return kept.of(objective, take_apart(objective), object)


def test_goals_share_an_entry_and_other_settings_do_not(kept):
    """Of objectives that name their inputs."""
    first = entry(kept, PixelDistance([1.0, 2.0]))
    assert entry(kept, PixelDistance([3.0, 4.0])) is first
    assert entry(kept, PixelDistance([3.0, 4.0], scale=2.0)) is not first


def test_the_kinds_asked_for_last_are_kept(kept):
    """As many as were said."""
    scales = (1.0, 2.0, 1.0, 3.0)
    first, second, again, _ = (entry(kept, PixelDistance([1.0, 2.0], scale=scale)) for scale in scales)
    assert again is first
    assert entry(kept, PixelDistance([1.0, 2.0], scale=1.0)) is first
    assert entry(kept, PixelDistance([1.0, 2.0], scale=2.0)) is not second


@pytest.mark.parametrize("kind", [Plain, Unhashable])
def test_an_objective_of_ones_own_has_its_own_entry(kept, kind):
    """The same at each call, another one for another objective."""
    one, other = kind(1.0), kind(1.0)
    assert entry(kept, one) is entry(kept, one)
    assert entry(kept, one) is not entry(kept, other)


def test_equal_objectives_share_an_entry(kept):
    """Where they say that they are equal."""
    one, same, other = Frozen(1.0), Frozen(1.0), Frozen(2.0)
    assert entry(kept, one) is entry(kept, same)
    assert entry(kept, one) is not entry(kept, other)


@pytest.mark.parametrize("kind", [Plain, Unhashable])
def test_entries_go_with_their_objectives(kept, kind):
    """Also where another object later gets the same place in memory."""
    objective = kind(1.0)
    entry(kept, objective)
    del objective
    gc.collect()
    assert len(kept._equal) == len(kept._single) == 0


def test_what_takes_no_reference_is_made_each_time(kept):
    """And referred to itself."""
    objective = Slotted(1.0)
    assert entry(kept, objective) is not entry(kept, objective)
    assert reference_to(objective)() is objective


def test_what_is_compiled_does_not_keep_its_objective():
    """The reference to it is weak."""
    objective = Plain(1.0)
    reference = reference_to(objective)
    del objective
    gc.collect()
    assert reference() is None
