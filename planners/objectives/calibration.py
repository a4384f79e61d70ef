"""Do an objective's costs order futures as reality does? Rank correlation with the true remaining distance.

A planner only compares candidates, so the rank correlation is what a cost is worth to it: 1 orders candidates as the
truth does, 0 is a guess, -1 is worse than none. Letters: K candidates of one decision, T steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from scipy.stats import rankdata

from visual_foresight.metrics import bootstrap_interval
from visual_foresight.planners.objectives.arrays import as_numpy
from visual_foresight.planners.objectives.objective import Objective
from visual_foresight.planners.settings import require_count, require_number
from visual_foresight.rollout import Rollout

TOTAL = "cost"
"""Name of the whole objective beside the names of its terms."""


@dataclass(frozen=True, eq=False)
class Judgement:
    """Futures that were both costed and come true, compared with each other only: usually those of one decision.

    Args:
        costs: name to [K]: ``TOTAL`` and each term of the objective, weights included.
        distances: [K] true remaining distance after the same actions [px].

    Raises:
        ValueError: shapes that differ, or no future.
    """

    costs: Mapping[str, np.ndarray]
    distances: np.ndarray

    def __post_init__(self) -> None:
        """Check the shapes."""
        shape = np.shape(self.distances)
        wrong = {name: np.shape(values) for name, values in self.costs.items() if np.shape(values) != shape}
        if len(shape) != 1 or not shape[0] or wrong or not self.costs:
            raise ValueError(f"costs and distances must all be [K] with K >= 1, got distances {shape}, costs {wrong}")

    @staticmethod
    def join(judgements: Sequence[Judgement]) -> Judgement:
        """Put several side by side, to be compared with each other: the executed plans of one episode, say.

        Raises:
            ValueError: nothing to join, or other terms in one than in another.
        """
        if not judgements or any(set(one.costs) != set(judgements[0].costs) for one in judgements):
            raise ValueError(f"need judgements of the same terms, got {[sorted(one.costs) for one in judgements]}")
        costs = {name: np.concatenate([one.costs[name] for one in judgements]) for name in judgements[0].costs}
        return Judgement(costs, np.concatenate([one.distances for one in judgements]))


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rank correlation, averaged over decisions, with a bootstrap interval over decisions.

    Args:
        value: mean over decisions; NaN if no decision says anything.
        low: lower end of the interval.
        high: upper end.
        num_decisions: decisions that it is averaged over.
        num_tied: decisions left out because all their costs, or all their distances, are the same.
        num_candidates: futures compared in all of them together.
    """

    value: float
    low: float
    high: float
    num_decisions: int
    num_tied: int
    num_candidates: int

    def to_json(self) -> dict[str, Any]:
        """JSON-plain form (NaN as None)."""
        return {name: None if number != number else number for name, number in asdict(self).items()}


def judge(objective: Objective, rollout: Rollout, distances: np.ndarray) -> Judgement:
    """Costs and terms of imagined futures beside the true remaining distances of the same actions.

    Args:
        objective: what is judged; its terms by ``explain``.
        rollout: K imagined futures.
        distances: [K] true remaining distance [px].
    """
    costs = {TOTAL: as_numpy(objective(rollout))}
    explained = objective.explain(rollout)
    if len(explained) > 1:  # a single term is the objective itself
        costs |= {name: contributions.sum(axis=1) for name, contributions in explained.items()}
    return Judgement(
        {name: np.asarray(values, np.float64) for name, values in costs.items()}, np.asarray(distances, np.float64)
    )


def judge_decision(
    objective: Objective,
    simulator: Any,
    start: Any,
    candidates: np.ndarray,
    *,
    true_simulator: Any,
    true_start: Any,
    goals: np.ndarray,
) -> Judgement:
    """Imagine candidates with one simulator, let them come true in another, compare.

    Args:
        objective: what is judged.
        simulator: what the planner imagines with.
        start: its start.
        candidates: [K, T, A], environment units; :func:`candidates_to_judge` gives a useful spread.
        true_simulator: gives the exact "pixels" [K, T, P, 2] of P designated pixels (:class:`TrueSimulator`).
        true_start: its start at the same moment.
        goals: [P, 2] or [2] as (row, col).
    """
    rollout = imagine(objective, simulator, start, candidates)
    truth = true_simulator.rollout(true_start, candidates, outputs=("pixels",))
    return judge(objective, rollout, remaining_distances(truth, goals))


def imagine(objective: Objective, simulator: Any, start: Any, candidates: np.ndarray) -> Rollout:
    """The rollout of candidates [K, T, A] that the objective would be shown in planning, as NumPy arrays."""
    # Not at import: simulation imports objectives itself.
    from visual_foresight.planners.simulation import pixel_output, rollout_at_stride, simulator_stride, whole_leaps

    names = [pixel_output(simulator) if name == "pixels" else name for name in objective.outputs]
    if not names:
        return Rollout(actions=whole_leaps(np.asarray(candidates), simulator_stride(simulator)))
    return rollout_at_stride(simulator, start, candidates, tuple(dict.fromkeys(names))).to_numpy()


def remaining_distances(truth: Rollout, goals: np.ndarray) -> np.ndarray:
    """Distance of the designated pixels to their goals after the last step, mean over pixels, [K] [px].

    Raises:
        ValueError: the rollout has no exact pixels, or other pixels than goals.
    """
    goals = np.atleast_2d(np.asarray(goals, np.float64))
    if truth.pixels is None or truth.pixels.shape[2:] != goals.shape:
        given = None if truth.pixels is None else list(truth.pixels.shape)
        raise ValueError(f"need exact pixels [K, T, {len(goals)}, 2] of the true simulator, got {given}")
    return np.linalg.norm(np.asarray(truth.pixels, np.float64)[:, -1] - goals, axis=-1).mean(axis=-1)


def candidates_to_judge(
    plan: np.ndarray,
    action_space: spaces.Box,
    *,
    rng: np.random.Generator,
    num_candidates: int = 64,
    action_repeat: int = 1,
) -> np.ndarray:
    """Candidates as a search meets them: the plan, half of the rest around it, half anywhere.

    Args:
        plan: [T, A], what was decided.
        action_space: Box of one environment.
        rng: source of all randomness.
        num_candidates: K.
        action_repeat: steps for which an action is held.

    Returns:
        [K, T, A] float32 inside the Box.
    """
    from visual_foresight.planners.bounds import ActionBounds
    from visual_foresight.planners.noise import coloured_noise, hold, num_blocks

    require_count("num_candidates", num_candidates)
    bounds, horizon = ActionBounds.of(action_space), len(plan)
    noise = coloured_noise(rng, num_candidates, num_blocks(horizon, action_repeat), bounds.action_size, 1.0)
    noise = hold(noise, action_repeat, horizon) * bounds.scale
    near = np.arange(num_candidates) % 2 == 0
    candidates = np.where(near[:, None, None], plan + 0.3 * noise, bounds.center + noise)
    candidates[0] = plan
    return bounds.clip(candidates)


def rank_correlation(costs: np.ndarray, distances: np.ndarray) -> float:
    """Spearman's rank correlation; ties get the mean of the ranks they share.

    Costs that are not finite rank last, all alike: such candidates never win.

    Args:
        costs: [K].
        distances: [K].

    Returns:
        In [-1, 1]; NaN where all costs or all distances are the same, since nothing is ordered then.

    Raises:
        ValueError: shapes that differ, or distances that are not finite.
    """
    costs, distances = np.asarray(costs, np.float64), np.asarray(distances, np.float64)
    if costs.ndim != 1 or costs.shape != distances.shape or not np.all(np.isfinite(distances)):
        raise ValueError(f"need costs [K] and finite distances [K], got {costs.shape} and {distances.shape}")
    ranks = [rankdata(np.where(np.isfinite(costs), costs, np.inf)), rankdata(distances)]
    centred = [rank - rank.mean() for rank in ranks]
    norms = [np.sqrt(np.sum(rank**2)) for rank in centred]
    if min(norms) == 0.0:
        return float("nan")
    return float(np.clip(np.dot(*centred) / (norms[0] * norms[1]), -1.0, 1.0))


def calibrate(
    judgements: Sequence[Judgement],
    *,
    rng: np.random.Generator,
    num_resamples: int = 1000,
    confidence: float = 0.95,
) -> dict[str, RankCorrelation]:
    """Rank correlation of an objective and each of its terms with the true remaining distance.

    Candidates are compared within their decision only: between decisions the distance differs whatever is planned.

    Args:
        judgements: one for each decision.
        rng: of the bootstrap.
        num_resamples: bootstrap samples of decisions; the interval is their percentiles.
        confidence: of the interval.

    Returns:
        Name of the term (``TOTAL`` is the whole objective) to its correlation.

    Raises:
        ValueError: no decision, decisions with different terms, or a setting outside its range.
    """
    require_count("num_resamples", num_resamples)
    require_number("confidence", confidence, 0.0, 1.0)
    if not judgements or any(set(one.costs) != set(judgements[0].costs) for one in judgements):
        raise ValueError(
            f"calibrate needs decisions with the same terms, got {[sorted(one.costs) for one in judgements]}"
        )
    return {name: _over_decisions(name, judgements, rng, num_resamples, confidence) for name in judgements[0].costs}


def _over_decisions(
    name: str, judgements: Sequence[Judgement], rng: np.random.Generator, num_resamples: int, confidence: float
) -> RankCorrelation:
    found = np.array([rank_correlation(one.costs[name], one.distances) for one in judgements])
    told = np.isfinite(found)
    values = found[told]
    num_candidates = sum(len(one.distances) for one, kept in zip(judgements, told, strict=True) if kept)
    num_tied = int((~told).sum())
    if not len(values):
        return RankCorrelation(float("nan"), float("nan"), float("nan"), 0, num_tied, 0)
    means = bootstrap_interval(values, seed=rng, num_resamples=num_resamples, confidence=confidence)
    return RankCorrelation(means.mean, means.low, means.high, means.count, num_tied, num_candidates)
