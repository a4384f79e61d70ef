"""Costs of candidates where their futures are computed: actions go to the accelerator, costs [K] come back.

Probability maps of a published decision are 147 MB (`seed`) or 49 MB (leaps of three), and are only read for K numbers.
Letters: K candidates, H control steps, A action size.
"""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from visual_foresight.backend import compile_function
from visual_foresight.planners.objectives.objective import Objective
from visual_foresight.planners.simulation import SimulatedCost, whole_leaps
from visual_foresight.rollout import Rollout
from visual_foresight.simulator_start import SimulatorStart

# An objective is computed operation by operation until it is seen to stay: compiling it takes as long as hundreds of
# calls, and a tracker makes a new one for each decision.
_CALLS_BEFORE_COMPILING = 16


class TensorCost(SimulatedCost):
    """Costs of candidates by a `LearnedSimulator` and an objective, both computed on tensors.

    The rollout is compiled once for all objectives. An objective that cannot read tensors (its first call raises) is
    given NumPy arrays from then on; one that can, but cannot be compiled, stays uncompiled. What is compiled keeps the
    settings that it was compiled with: change no objective that has been used, make another, or say in its attribute
    ``compilable = False`` that its costs depend on more than the rollout.

    Args:
        simulator: a LearnedSimulator.
        start: from its `start`.
        objective: what to reach.
    """

    def __init__(self, simulator: Any, start: SimulatorStart, objective: Objective) -> None:
        """Find out what to ask for, and whether the objective was here before."""
        super().__init__(simulator, start, objective)
        self._learned = simulator
        self._uploaded: SimulatorStart | None = None
        self._judge = _judge_of(objective)
        self._judge.decisions += 1

    def __call__(self, candidates: np.ndarray) -> np.ndarray:
        """Candidates [K, H, A] to costs [K]."""
        if not self._outputs or self._judge.reads_numpy_only:
            return super().__call__(candidates)
        futures = self.imagine(candidates)
        try:
            return np.asarray(self._judge(self._objective, futures, self._learned.stride))
        except Exception:  # whatever a function of NumPy arrays may raise when it is shown tensors
            costs = super().__call__(candidates)  # an error of another kind is raised here once more
            self._judge.reads_numpy_only = True
            return costs

    def imagine(self, candidates: np.ndarray) -> dict[str, Any]:
        """What the objective reads of the futures, as tensors; on JAX they may still be on their way."""
        if self._uploaded is None:
            self._uploaded = self._start.on_device()
        filled = whole_leaps(np.asarray(candidates, np.float32), self._learned.stride)
        return self._learned.futures(self._uploaded, filled, self._outputs)


class _Judge:
    """What is known about one objective, over decisions.

    Args:
        compilable: whether it may be compiled.
    """

    def __init__(self, compilable: bool) -> None:
        self.reads_numpy_only = False
        self.decisions = 0
        self._calls = 0
        self._compilable = compilable
        self._compiled: dict[int, Any] = {}

    def __call__(self, objective: Objective, futures: dict[str, Any], every: int) -> Any:
        """Costs [K], a tensor (or an array, where the objective made one)."""
        self._calls += 1
        if self._compilable and (self.decisions > 1 or self._calls > _CALLS_BEFORE_COMPILING):
            if every not in self._compiled:
                self._compiled[every] = _compile(weakref.ref(objective), every)
            try:
                return self._compiled[every](futures)
            except Exception:  # it looks at values, which are not there while a graph is made
                self._compilable = False
        return objective(Rollout(**futures, every=every))


_JUDGES: weakref.WeakKeyDictionary[Any, _Judge] = weakref.WeakKeyDictionary()


def _judge_of(objective: Objective) -> _Judge:
    compilable = bool(getattr(objective, "compilable", True))
    try:
        return _JUDGES.setdefault(objective, _Judge(compilable))
    except TypeError:  # neither remembered between decisions nor compiled: it has no hash, or takes no weak reference
        return _Judge(compilable=False)


def _compile(objective: Any, every: int) -> Any:
    """Takes a weak reference: what is compiled for an objective goes when the caller lets it go."""
    return compile_function(lambda futures: objective()(Rollout(**futures, every=every)))
