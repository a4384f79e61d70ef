"""Several simulators as one: what they disagree on costs extra."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from visual_foresight.planners.objectives.objective import Objective
from visual_foresight.planners.search import require_gradient
from visual_foresight.planners.settings import require_number
from visual_foresight.planners.simulation import Simulator, cost_function
from visual_foresight.rollout import Rollout

_PREDICTED = ("frames", "states", "pixel_distributions", "pixels")


class Ensemble:
    """Costs ``mean + penalty * deviation`` over simulators that were trained apart.

    A planner finds the candidates that a model is wrong about, if being wrong is cheap; models that were trained with
    other seeds are wrong about other candidates, so their disagreement marks them. Chua et al. 2018 (ensembles for
    planning); Ebert et al. 2018's code and VP2 (Tian et al. 2023) penalise it in visual planning.
    Differs from: the standard deviation, in units of the cost, instead of the variance.

    A simulator like any other: `start` encodes the scene in each, `cost_function` is what planners use, and `rollout`
    gives the members' mean, for pictures and for carrying maps along.

    With ``share`` below 1 the first member judges all candidates, and the others only that share of them which it likes
    best: a second opinion on what may be chosen, for a fraction of the time. Candidates that not all have judged count
    as worse than those that have, in the first member's order.

    Args:
        simulators: two or more, with the same ``stride``.
        penalty: k, deviations that are added to the mean; 0 is the mean, negative is optimistic.
        share: of the candidates that all members judge, above 0 and at most 1. Gradients are always those of all.

    Attributes:
        stride: control steps of one network call, as the members have it.
        drafts: whether all members take ``draft``.

    Raises:
        ValueError: fewer than two simulators, different strides, or a setting outside its range.
    """

    def __init__(self, simulators: Sequence[Simulator], *, penalty: float = 1.0, share: float = 1.0) -> None:
        """Check that the members belong together."""
        self.simulators, self.penalty, self.share = tuple(simulators), float(penalty), float(share)
        require_number("penalty", self.penalty, -float("inf"))
        require_number("share", self.share, 0.0, 1.0, open_low=True)
        unfit = [type(one).__name__ for one in self.simulators if not hasattr(one, "rollout")]
        if unfit:
            raise TypeError(f"an ensemble is made of simulators with a rollout, got {', '.join(unfit)}")
        strides = {int(getattr(one, "stride", 1)) for one in self.simulators}
        if len(self.simulators) < 2 or len(strides) > 1:
            raise ValueError(
                f"an ensemble needs two or more simulators of one stride, got {len(self.simulators)} with strides "
                f"{sorted(strides)}"
            )
        self.stride = strides.pop()
        self.drafts = all(getattr(one, "drafts", False) for one in self.simulators)

    def start(self, *arguments: Any, **options: Any) -> tuple[Any, ...]:
        """Encode a scene in every member."""
        return tuple(one.start(*arguments, **options) for one in self.simulators)

    def rollout(
        self,
        start: tuple[Any, ...],
        actions: np.ndarray,
        outputs: tuple[str, ...] = ("frames", "states", "pixel_distributions"),
        **options: Any,
    ) -> Rollout:
        """The mean of what the members predict for actions [K, T, A]."""
        rollouts = [
            one.rollout(begin, actions, outputs=outputs, **options).to_numpy()
            for one, begin in zip(self.simulators, start, strict=True)
        ]
        first = rollouts[0]
        there = [name for name in _PREDICTED if getattr(first, name) is not None]
        means: dict[str, Any] = {name: np.mean([getattr(one, name) for one in rollouts], axis=0) for name in there}
        return replace(first, **means)

    def cost_function(self, start: tuple[Any, ...], objective: Objective) -> EnsembleCost:
        """Candidates [K, H, A] to costs [K], with a ``gradient`` where the members have one."""
        costs = [cost_function(one, begin, objective) for one, begin in zip(self.simulators, start, strict=True)]
        return EnsembleCost(costs, self.penalty, self.share)


class EnsembleCost:
    """``mean + penalty * deviation`` of several cost functions of the same candidates.

    Args:
        cost_fns: one for each member.
        penalty: k.
        share: of the candidates that all of them judge.

    Raises:
        ValueError: asked for a gradient that a member does not have.
    """

    def __init__(
        self, cost_fns: Sequence[Callable[[np.ndarray], np.ndarray]], penalty: float, share: float = 1.0
    ) -> None:
        """Store the members."""
        self._cost_fns, self._penalty, self._share = tuple(cost_fns), float(penalty), float(share)

    def __call__(self, candidates: np.ndarray) -> np.ndarray:
        """Costs [K]; not finite where any member's is not."""
        if self._share == 1.0:
            return self._combined(self.members(candidates))
        first = np.asarray(self._cost_fns[0](candidates), np.float64)
        ranking = np.argsort(np.where(np.isfinite(first), first, np.inf), kind="stable")
        count = math.ceil(self._share * len(candidates))
        judged, rest = ranking[:count], ranking[count:]
        others = [np.asarray(cost_fn(candidates[judged]), np.float64) for cost_fn in self._cost_fns[1:]]
        costs = np.where(np.isfinite(first), first, np.inf)
        costs[judged] = self._combined(np.stack([first[judged], *others]))
        finite = costs[judged][np.isfinite(costs[judged])]
        if len(rest) and not len(finite):
            costs[rest] = np.inf  # nothing that all have judged is left: the opinion of one does not count alone
        elif len(rest):
            # Behind the worst that all have judged: a cost that only one member gave is no bargain.
            worst = float(finite.max())
            costs[rest] = np.maximum(costs[rest] + max(0.0, worst - float(costs[rest].min())), worst)
        return costs

    def _combined(self, members: np.ndarray) -> np.ndarray:
        mean, deviation, _ = _moments(members)
        return mean + self._penalty * deviation

    def members(self, candidates: np.ndarray) -> np.ndarray:
        """Each member's costs [N, K] float64."""
        return np.stack([np.asarray(cost_fn(candidates), np.float64) for cost_fn in self._cost_fns])

    def gradient(self, candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Costs [K] and gradients [K, H, A]."""
        answers = [require_gradient(cost_fn)(candidates) for cost_fn in self._cost_fns]
        costs = np.stack([np.asarray(cost, np.float64) for cost, _ in answers])
        gradients = np.stack([np.asarray(gradient, np.float64) for _, gradient in answers])  # [N, K, H, A]
        mean, deviation, excess = _moments(costs)
        # d deviation / d cost_n = (cost_n - mean) / (N * deviation): 0 where all agree, as on a smooth minimum.
        share = (1.0 + self._penalty * excess / np.maximum(deviation, 1e-12)) / len(costs)
        return mean + self._penalty * deviation, np.einsum("nk,nkha->kha", share, gradients)


def _moments(costs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean [K], deviation [K] and excess over the mean [N, K]; the mean is infinite where a cost is not finite."""
    finite = np.isfinite(costs).all(axis=0)
    known = np.where(finite, costs, 0.0)
    mean = known.mean(axis=0)
    excess = known - mean
    deviation = np.sqrt(np.mean(excess**2, axis=0))
    return np.where(finite, mean, np.inf), deviation, excess
