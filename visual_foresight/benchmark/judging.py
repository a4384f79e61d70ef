"""How well an objective orders futures: its costs of candidates beside where they really lead (`plan --calibrate`)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from visual_foresight.benchmark.alternatives import alternative_costs
from visual_foresight.benchmark.methods import goal_pixel
from visual_foresight.benchmark.settings import ControlSettings

NUM_CANDIDATES = 32
_CANDIDATE_STREAM = 0xCA
RANK_NOTE = (
    "rank correlation with the true remaining distance, of the cost that was planned with, of its terms (distance, "
    "approach), and of other objectives on the same futures:"
)
_WORST = 1e9  # in place of infinity, which JSON does not have


def judge_plan(environment: Any, controller: Any, task: Any, settings: ControlSettings, number: int) -> dict[str, Any]:
    """Cost candidates around a controller's last plan and let them come true; JSON-plain, for the row of the episode.

    By its objective, by each of its terms, and by the objectives of `alternatives`.

    Args:
        environment: the real one, at the moment of the decision.
        controller: an MPC that has just decided.
        task: what is asked.
        settings: how it plans.
        number: of the decision in the episode.
    """
    from visual_foresight.envs import TrueSimulator
    from visual_foresight.planners.objectives.calibration import candidates_to_judge, judge_decision

    env = environment.unwrapped
    truth = TrueSimulator(environment)
    candidates = candidates_to_judge(
        controller.last_plan.actions,
        env.action_space,
        rng=np.random.default_rng([_CANDIDATE_STREAM, task.seed, number]),
        num_candidates=NUM_CANDIDATES,
        action_repeat=settings.action_repeat,
    )
    try:
        judgement = judge_decision(
            controller.last_objective,
            controller.simulator,
            controller.last_start,
            candidates,
            true_simulator=truth,
            true_start=truth.start(),
            goals=goal_pixel(env, task),
        )
    finally:
        truth.close()
    others = alternative_costs(env, controller, task, candidates)
    costs = {name: _rounded(values) for name, values in {**judgement.costs, **others}.items()}
    return {"costs": costs, "distances": _rounded(judgement.distances)}


def rank_correlations(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the rank correlation of the objective and of each of its terms over all judged decisions of rows.

    None where no decision was judged.
    """
    from visual_foresight.planners.objectives.calibration import Judgement, calibrate

    judged = [
        Judgement({name: np.array(values) for name, values in one["costs"].items()}, np.array(one["distances"]))
        for row in rows
        for one in row.get("judgements", ())
    ]
    if not judged:
        return None
    return {name: found.to_json() for name, found in calibrate(judged, rng=np.random.default_rng(0)).items()}


def _rounded(values: np.ndarray) -> list[float]:
    return [round(min(float(value), _WORST), 5) for value in values]
