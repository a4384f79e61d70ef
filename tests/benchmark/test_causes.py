"""Causes of failure: each rule fires on an episode that was made for it, and on success none does."""

import numpy as np
import pytest

from visual_foresight.benchmark.causes import CAUSES, failure_evidence, failure_signs, optimism
from visual_foresight.benchmark.rows import episode_row


def path(*columns, row=32.0):
    """A path along a row through the given columns, nine points long."""
    return [[row, column] for column in np.interp(np.linspace(0, 1, 9), np.linspace(0, 1, len(columns)), columns)]


def signs(record, task):
    return failure_signs(record, failure_evidence(record, task))


@pytest.mark.parametrize(
    ("cause", "pixels", "options"),
    [
        ("never touched", path(25, 25), {}),
        ("wrong object", path(25, 26), {"others": np.linspace(0, 0.06, 9)}),
        ("out of reach", path(25, 20), {"place": (-0.235, 0.0)}),
        ("stopped short", path(25, 36.5), {}),
        ("pushed past", path(25, 46), {}),
        ("pushed past", path(25, 40, 30), {}),
        ("hidden", path(25, 31, 31), {"hidden": np.arange(9) < 4}),
        ("model error", path(25, 30, 30), {"predicted": path(25, 40)}),
        ("out of time", path(25, 34), {}),
        ("stuck", path(25, 34, 34, 34), {}),
    ],
)
def test_each_rule_has_its_episode(cause, pixels, options, make_record, task):
    """The cause is the one that the episode was made for."""
    record = make_record(pixels, **options)
    assert not record.success
    assert signs(record, task)[0] == cause


def test_success_has_no_cause(make_record, task):
    """Whatever happened on the way, an episode that ends at the goal did not fail."""
    record = make_record(path(25, 50, 40), others=np.linspace(0, 0.1, 9))
    assert record.success
    assert signs(record, task) == []


def test_signs_come_in_the_order_of_causes(make_record, task):
    """All rules that hold are kept, the one that explains most first."""
    record = make_record(path(25, 50), others=np.linspace(0, 0.5, 9), hidden=np.ones(9, bool))
    found = signs(record, task)
    assert found == [cause for cause in CAUSES if cause in found]
    assert {"wrong object", "pushed past", "hidden"} <= set(found)


def test_a_true_prediction_is_no_optimism(make_record):
    """Plans that foresaw what the executed steps did are charged nothing, whatever they hoped for later."""
    pixels = path(25, 33)
    assert optimism(make_record(pixels, predicted=pixels)) == pytest.approx(0.0)
    hoped = np.array(pixels)
    record = make_record(pixels, predicted=hoped)
    assert optimism(record) == pytest.approx(0.0)
    assert optimism(make_record(pixels)) == 0.0  # nothing expected, nothing to be wrong about
    # Each of four plans puts the point 1 px too near after its two executed steps.
    assert optimism(make_record(pixels, predicted=hoped + [0.0, 1.0])) == pytest.approx(4.0)


def test_row_tells_distances_in_both_units(make_record, task):
    """A row's px are those of the record, its cm those on the table; JSON-plain, with every key of a row."""
    start = np.asarray(task.goal_position) + (0.10, 0.0)
    record = make_record(path(25, 37.5), place=np.linspace(start, start - (0.08, 0.0), 9))
    row = episode_row(record, task, method="true", index=3, planner_seed=5, deadline_ms=99.0)
    assert row["success"] and row["success_4px"] and row["cause"] is None
    assert (row["first_distance_px"], row["final_distance_px"]) == pytest.approx((15.0, 2.5))
    assert row["improvement_px"] == pytest.approx(12.5)
    assert (row["final_distance_cm"], row["improvement_cm"]) == pytest.approx((2.0, 8.0))
    assert row["steps_to_goal"] == 8 and len(row["distances_px"]) == 9
    assert row["missed_deadlines"] == 4 and row["decision_iterations"] == [3, 3, 3, 3]
    assert (row["method"], row["shift"], row["task"], row["planner_seed"]) == ("true", "none", 3, 5)


def test_success_at_any_time_is_kept_apart(make_record, task):
    """An object that was at the goal and left it counts for 'any time' only."""
    row = episode_row(make_record(path(25, 40, 30)), task, method="true", index=0, planner_seed=0)
    assert (row["success"], row["success_any_time"], row["success_4px"]) == (False, True, False)
    near = episode_row(make_record(path(25, 36.5)), task, method="true", index=0, planner_seed=0)
    assert (near["success"], near["success_any_time"], near["success_4px"]) == (False, False, True)
