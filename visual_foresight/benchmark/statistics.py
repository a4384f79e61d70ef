"""Intervals and tests for success rates and distances, honest where tasks were run several times.

Several planner seeds of one task are no independent trials: what one seed finds hard, the next finds hard too. Every
function here takes `clusters`, the task of each value, and treats tasks as the independent units. Letters: N values,
C tasks.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from visual_foresight import metrics

Z95 = 1.959964
NUM_RESAMPLES = 10_000

Numbers = Sequence[float] | np.ndarray


def wilson_interval(num_successes: float, num_trials: float, *, z: float = Z95) -> tuple[float, float]:
    """Return the Wilson score interval of a share, 95 % by default: honest for few trials and for shares near 0 and 1.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).

    Raises:
        ValueError: when there is no trial, or more successes than trials.
    """
    if num_trials < 1 or not 0 <= num_successes <= num_trials:
        raise ValueError(f"need 0 <= successes <= trials and one trial at least, got {num_successes} of {num_trials}")
    share = num_successes / num_trials
    center = share + z**2 / (2 * num_trials)
    half = z * np.sqrt(share * (1 - share) / num_trials + z**2 / (4 * num_trials**2))
    scale = 1 + z**2 / num_trials
    # Rounding must not put the share outside of its own interval.
    low, high = min(share, (center - half) / scale), max(share, (center + half) / scale)
    return float(max(0.0, low)), float(min(1.0, high))


def effective_trials(outcomes: Numbers, clusters: Sequence[Any] | np.ndarray) -> float:
    """Return how many independent trials N clustered ones are worth: between C (all alike in a task) and N.

    The variance of the share is estimated between tasks (ratio estimator, with C / (C - 1)), and divided into that of
    independent trials. Where all outcomes are equal nothing can be estimated, and C is returned: the cautious end.

    Source: L. Kish, "Survey Sampling" (1965), design effect; its use in Wilson's interval: N. Dean, M. Pagano,
    "Evaluating confidence interval methods for binomial proportions in clustered surveys", J. Surv. Stat. Methodol. 3
    (2015).
    """
    outcomes, groups = _grouped(outcomes, clusters)
    num_trials, num_groups = len(outcomes), int(groups.max()) + 1
    if num_groups == num_trials:
        return float(num_trials)
    share = outcomes.mean()
    residuals = np.bincount(groups, outcomes - share)
    if num_groups < 2 or not 0 < share < 1:
        return float(num_groups)
    variance = num_groups / (num_groups - 1) * np.sum(residuals**2) / num_trials**2
    if variance == 0:
        return float(num_trials)
    return float(np.clip(share * (1 - share) / variance, num_groups, num_trials))


def share_interval(outcomes: Numbers, clusters: Sequence[Any] | np.ndarray | None = None) -> tuple[float, float]:
    """Return the 95 % interval of a share of successes [N]: Wilson's, with `effective_trials` in place of N.

    Raises:
        ValueError: no outcome, or one that is neither 0 nor 1.
    """
    outcomes = np.asarray(outcomes, np.float64)
    if not len(outcomes) or not np.isin(outcomes, (0.0, 1.0)).all():
        raise ValueError(f"outcomes must be 0 or 1 and one at least, got {outcomes.tolist()[:5]}")
    trials = len(outcomes) if clusters is None else effective_trials(outcomes, clusters)
    return wilson_interval(float(outcomes.mean()) * trials, trials)


def mean_interval(values: Numbers, clusters: Sequence[Any] | np.ndarray | None = None) -> tuple[float, float]:
    """Return the 95 % interval of a mean: Student's t over the means of tasks; NaN where there is a single task.

    Raises:
        ValueError: no value, or one that is not finite.
    """
    from scipy.special import stdtrit

    means = cluster_means(values, np.arange(len(values)) if clusters is None else clusters)
    if len(means) < 2:
        return float("nan"), float("nan")
    half = float(stdtrit(len(means) - 1, 0.975)) * means.std(ddof=1) / np.sqrt(len(means))
    return float(means.mean() - half), float(means.mean() + half)


def cluster_means(values: Numbers, clusters: Sequence[Any] | np.ndarray) -> np.ndarray:
    """Return the mean of each task [C], in the order in which tasks first appear.

    Raises:
        ValueError: no value, or one that is not finite.
    """
    values, groups = _grouped(values, clusters)
    return np.bincount(groups, values) / np.bincount(groups)


def bootstrap_interval(values: Numbers, clusters: Sequence[Any] | np.ndarray, *, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of a mean, resampling whole tasks; for paired differences too."""
    means = cluster_means(values, clusters)
    interval = metrics.bootstrap_interval(means, seed=seed, num_resamples=NUM_RESAMPLES)
    return interval.low, interval.high


def paired_share_interval(
    first: Numbers, second: Numbers, clusters: Sequence[Any] | np.ndarray | None = None
) -> tuple[float, float]:
    """Return the 95 % interval of the difference of two shares of the same N trials, second minus first.

    Wilson intervals of both shares are combined with the correlation of the outcomes; unlike a bootstrap it does not
    shrink to a point where no trial differs. Source: R. G. Newcombe, "Improved confidence intervals for the difference
    between binomial proportions based on paired data", Statistics in Medicine 17 (1998), method 10 (square-and-add,
    with the correction of phi for continuity). Differs from: `share_interval` in place of Wilson's with clusters.

    Raises:
        ValueError: outcomes that are not 0 or 1, or of different lengths.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.shape != second.shape:
        raise ValueError(f"paired outcomes must be as many, got {len(first)} and {len(second)}")
    (low1, high1), (low2, high2) = share_interval(first, clusters), share_interval(second, clusters)
    share1, share2 = first.mean(), second.mean()
    phi = _paired_phi(first, second)
    below = _square_and_add(share2 - low2, high1 - share1, phi)
    above = _square_and_add(high2 - share2, share1 - low1, phi)
    difference = share2 - share1
    return float(difference - below), float(difference + above)


def sign_flip_test(
    differences: Sequence[int] | np.ndarray, clusters: Sequence[Any] | np.ndarray | None = None
) -> float:
    """Return the exact two-sided p of "first and second are exchangeable within every task".

    With one pair a task this is McNemar's exact test (binomial on the pairs that differ). With several, all
    differences of a task change sign together, and the distribution of their sum is convolved exactly.

    Source: Q. McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
    Psychometrika 12 (1947); R. A. Fisher, "The Design of Experiments" (1935), section 21.

    Args:
        differences: [N] second minus first: -1, 0 or 1.
        clusters: task of each; None: each is its own.
    """
    values, groups = _grouped(differences, np.arange(len(differences)) if clusters is None else clusters)
    sums = np.abs(np.rint(np.bincount(groups, values))).astype(int)
    total = int(sums.sum())
    observed = abs(int(np.rint(values.sum())))
    chances = np.zeros(2 * total + 1)  # of the sum being -total, ..., total
    chances[total] = 1.0
    for size in sums[sums > 0]:
        chances = 0.5 * (np.roll(chances, size) + np.roll(chances, -size))
    return float(min(1.0, chances[np.abs(np.arange(-total, total + 1)) >= observed].sum()))


def _paired_phi(first: np.ndarray, second: np.ndarray) -> float:
    both, neither = float(np.sum(first * second)), float(np.sum((1 - first) * (1 - second)))
    only_first, only_second = float(np.sum(first * (1 - second))), float(np.sum((1 - first) * second))
    margins = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    if margins == 0:
        return 0.0
    product = both * neither - only_first * only_second
    if product > 0:
        product = max(product - len(first) / 2, 0.0)
    return float(product / np.sqrt(margins))


def _square_and_add(one: float, other: float, phi: float) -> float:
    return float(np.sqrt(max(one**2 - 2 * phi * one * other + other**2, 0.0)))


def _grouped(values: Any, clusters: Any) -> tuple[np.ndarray, np.ndarray]:
    """Values [N] float64 and the number of the task of each, 0 to C - 1 in order of appearance."""
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not len(values) or len(values) != len(clusters):
        raise ValueError(f"need as many values as clusters and one at least, got {values.shape} and {len(clusters)}")
    if not np.isfinite(values).all():
        raise ValueError("values must be finite")
    numbers: dict[Any, int] = {}
    groups = np.array([numbers.setdefault(key, len(numbers)) for key in _hashable(clusters)])
    return values, groups


def _hashable(clusters: Any) -> list:
    return clusters.tolist() if isinstance(clusters, np.ndarray) else list(clusters)
