"""Costs of candidates where their futures are computed: actions go to the accelerator, costs [K] come back.

Probability maps of a published decision are 147 MB (`seed`) or 49 MB (leaps of three), and are only read for K numbers.
Searches of the CEM family go there whole: all iterations in one compiled call.
Letters: K candidates, H control steps, A action size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from visual_foresight.backend import compile_function
from visual_foresight.kept_by_kind import KeptByKind, is_one_for_good, reference_to
from visual_foresight.packing import Form, pack, split, unpack
from visual_foresight.planners.objectives.objective import Objective
from visual_foresight.planners.objectives.parts import Parts, take_apart
from visual_foresight.planners.search import Problem, Search
from visual_foresight.planners.simulation import SimulatedCost, whole_leaps
from visual_foresight.planners.whole_search import (
    Draws,
    can_be_whole,
    draw_all,
    make_whole_search,
    record_search,
    result_shapes,
)
from visual_foresight.rollout import Rollout
from visual_foresight.simulator_start import SimulatorStart
from visual_foresight.unrolling import make_futures, shown_as_maps

# An objective is computed operation by operation until it is seen to stay: compiling it takes as long as hundreds of
# calls, and a tracker makes a new one for each decision.
_CALLS_BEFORE_COMPILING = 16
DECISIONS_TO_COMPILE = 3
"""The first costs are uncompiled, the second decision compiles the objective, and the third the whole search."""
# Objectives that differ in their goals only count as one, so few are ever seen.
_KINDS_KEPT = 32


class TensorCost(SimulatedCost):
    """Costs of candidates by a `LearnedSimulator` and an objective, both computed on tensors.

    The rollout is compiled once for all objectives. An objective that cannot read tensors (its first call raises) is
    given NumPy arrays from then on; one that can, but cannot be compiled, stays uncompiled. One that says which of its
    arrays are inputs (``compiled_inputs``) is compiled once for all of its kind; of another one, what is compiled keeps
    the settings that it was compiled with: change none that has been used, make another, or say in its attribute
    ``compilable = False`` that its costs depend on more than the rollout.

    Args:
        simulator: a LearnedSimulator.
        start: from its `start`.
        objective: what to reach.
    """

    def __init__(self, simulator: Any, start: SimulatorStart, objective: Objective) -> None:
        """Find out what to ask for, and whether the objective, or one of its kind, was here before."""
        super().__init__(simulator, start, objective)
        self._learned = simulator
        self._uploaded: SimulatorStart | None = None
        self._parts = take_apart(objective)
        self._judge = _judge_of(objective, self._parts)
        self._judge.decisions += 1

    def __call__(self, candidates: np.ndarray) -> np.ndarray:
        """Candidates [K, H, A] to costs [K]."""
        if not self._outputs or self._judge.reads_numpy_only:
            return super().__call__(candidates)
        return self.judged(self.imagine(candidates), candidates)

    def judged(self, futures: dict[str, Any], candidates: np.ndarray) -> np.ndarray:
        """Costs [K] of what was imagined for candidates [K, H, A]."""
        try:
            return np.asarray(self._judge(self._objective, self._parts, futures, self._learned.stride))
        except Exception:  # whatever a function of NumPy arrays may raise when it is shown tensors
            costs = super().__call__(candidates)  # an error of another kind is raised here once more
            self._judge.reads_numpy_only = True
            return costs

    def imagine(self, candidates: np.ndarray) -> dict[str, Any]:
        """What the objective reads of the futures, as tensors; on JAX they may still be on their way."""
        filled = whole_leaps(np.asarray(candidates, np.float32), self._learned.stride)
        return self._learned.futures(self._on_device(), filled, self._outputs)

    def whole_search(self, planner: Any, problem: Problem, search: Search) -> bool:
        """Search the whole problem in one compiled call, if that can be; see `planners.whole_search`.

        That is so for planners of the CEM family whose candidates fit one chunk, and for objectives that were compiled
        before and say which of their arrays are inputs: compiling a search takes longer than a few decisions.

        Args:
            planner: its settings.
            problem: what is searched.
            search: where what is found is entered.

        Returns:
            Whether it was done. If not, neither the search nor the problem's generator has changed.
        """
        if self._parts is None or not self._outputs or not self._judge.is_compiled:
            return False
        if not can_be_whole(planner) or max(planner.counts) > self._learned.chunk_size:
            return False
        before = problem.rng.bit_generator.state
        found = self._searched(planner, draw_all(planner, problem), self._parts)
        if record_search(planner, search, found):
            return True
        problem.rng.bit_generator.state = before
        return False

    def _searched(self, planner: Any, draws: Draws, parts: Parts) -> dict[str, np.ndarray]:
        start = self._start.plain()
        maps = () if start.pixel_distributions is None else (start.pixel_distributions,)
        arrays = (start.frame, start.state, *maps), tuple(draws[:-1]), draws.noises, parts.values
        form, *given = pack([array for group in arrays for array in group])
        counts = tuple(len(group) for group in arrays)
        compiled = self._learned.searches
        key = (planner, parts.key, self._outputs, form, counts)
        if key not in compiled:
            function = _make_search(self._learned, planner, parts, self._outputs, (form, counts))
            compiled[key] = compile_function(function, model=self._learned.predictor)
        shapes = result_shapes(planner, draws.low.shape[0])
        found = np.asarray(compiled[key](start.carry, *given))
        return dict(zip(shapes, split(found, list(shapes.values())), strict=True))

    def _on_device(self) -> SimulatorStart:
        if self._uploaded is None:
            self._uploaded = self._start.on_device()
        return self._uploaded


def _make_search(
    simulator: Any, planner: Any, parts: Parts, outputs: Sequence[str], packed: tuple[Form, tuple[int, ...]]
) -> Any:
    """(carry, and packed: frame, state and maps, what is drawn, the objective's arrays) to what is found, in a row."""
    futures, stride = make_futures(simulator.predictor, shown_as_maps(outputs)), simulator.stride
    form, counts = packed

    def searched(carry: Any, one: Any, others: Sequence[Any]) -> Any:
        from keras import ops

        arrays = iter(unpack(form, one, others))
        (frame, state, *maps), draws, noises, values = ([next(arrays) for _ in range(count)] for count in counts)
        objective = parts.rebuild(values)

        def cost(candidates: Any) -> Any:
            missing = -candidates.shape[1] % stride
            filled = ops.pad(candidates, ((0, 0), (0, missing), (0, 0))) if missing else candidates
            return objective(Rollout(**futures(carry, frame, state, filled, *maps), every=stride))

        found = make_whole_search(planner, cost)(Draws._make([*draws, tuple(noises)]))
        names = result_shapes(planner, draws[0].shape[0])
        return ops.concatenate([ops.reshape(found[name], (-1,)) for name in names])

    return searched


class _Judge:
    """What is known about one objective, or one kind of them, over decisions.

    Args:
        compilable: whether it may be compiled.
    """

    def __init__(self, compilable: bool) -> None:
        self.reads_numpy_only = False
        self.decisions = 0
        self._calls = 0
        self._compilable = compilable
        self._compiled: dict[int, Any] = {}

    @property
    def is_compiled(self) -> bool:
        """Whether it has been, and can still be."""
        return self._compilable and bool(self._compiled) and not self.reads_numpy_only

    def __call__(self, objective: Objective, parts: Parts | None, futures: dict[str, Any], every: int) -> Any:
        """Costs [K], a tensor (or an array, where the objective made one)."""
        self._calls += 1
        if self._compilable and (self.decisions > 1 or self._calls > _CALLS_BEFORE_COMPILING):
            if every not in self._compiled:
                self._compiled[every] = _compile(objective, parts, every)
            try:
                return self._compiled[every](() if parts is None else parts.values, futures)
            except Exception:  # it looks at values, which are not there while a graph is made
                self._compilable = False
        return objective(Rollout(**futures, every=every))


_JUDGES: KeptByKind[_Judge] = KeptByKind(_KINDS_KEPT)


def _judge_of(objective: Objective, parts: Parts | None) -> _Judge:
    wanted = bool(getattr(objective, "compilable", True)) and (parts is not None or is_one_for_good(objective))
    return _JUDGES.of(objective, parts, lambda: _Judge(wanted))


def _compile(objective: Objective, parts: Parts | None, every: int) -> Any:
    """The function of an objective's arrays and of futures."""
    if parts is not None:
        rebuild = parts.rebuild
        return compile_function(lambda values, futures: rebuild(values)(Rollout(**futures, every=every)))
    reference = reference_to(objective)
    return compile_function(lambda _, futures: reference()(Rollout(**futures, every=every)))
