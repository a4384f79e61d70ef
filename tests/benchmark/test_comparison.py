"""Summaries, comparisons and what is missing: against counts by hand, and refusals."""

import json

import numpy as np
import pytest

from visual_foresight.benchmark.comparison import compare_files, compare_rows, read_results
from visual_foresight.benchmark.protocol import protocol_hash
from visual_foresight.benchmark.results import make_results
from visual_foresight.benchmark.statistics import wilson_interval
from visual_foresight.benchmark.summary import decision_statistics, shift_curve, summarize_method, what_is_missing
from visual_foresight.benchmark.text import comparison_text, results_text

PROTOCOL = {"environment": "made up", "budget_steps": 30, "tasks": {"name": "none", "sha256": "0", "num_tasks": 8}}


def protocol(**changes):
    changed = {**PROTOCOL, **changes}
    return {**changed, "sha256": protocol_hash(changed)}


def write(path, rows, **changes):
    results = make_results(rows, protocol=protocol(**changes), settings={}, methods={"learned": {}}, versions={})
    path.write_text(json.dumps(results))
    return path


def test_summary_counts_rows(make_row):
    """Counts, rates and intervals of one method are those of its rows."""
    rows = [make_row(index, success=index < 6) for index in range(8)]
    found = summarize_method(rows)
    assert found["success"]["num"] == 6 and found["success"]["of"] == 8
    assert tuple(found["success"]["interval_95"]) == pytest.approx(wilson_interval(6, 8))
    assert found["final_distance_px"]["mean"] == pytest.approx((6 * 1 + 2 * 8) / 8)
    assert found["causes"] == {"stuck": 2}
    assert sum(one["of"] for one in found["strata"]["direction"].values()) == 8
    assert sum(one["num"] for one in found["strata"]["shape"].values()) == 6


def test_several_seeds_are_clustered(make_row):
    """Three seeds that agree on every task give the interval of one."""
    one = [make_row(index, 0, index < 6) for index in range(8)]
    three = [make_row(index, seed, index < 6) for index in range(8) for seed in range(3)]
    narrow, wide = (summarize_method(rows)["success"]["interval_95"] for rows in (three, one))
    assert narrow == pytest.approx(wide)
    assert summarize_method(three)["planner_seeds"] == [0, 1, 2]


def test_decisions_are_counted_with_deadlines(make_row):
    """Hz is decisions per second of deciding; missed deadlines are a share of all decisions."""
    rows = [make_row(0, missed_deadlines=1), make_row(1, missed_deadlines=0)]
    found = decision_statistics(rows)
    assert found["hertz"] == pytest.approx(5.0)
    assert (found["p50"], found["max"], found["missed_share"]) == pytest.approx((0.2, 0.3, 0.25))
    assert (found["iterations_mean"], found["iterations_min"]) == (2.5, 2)
    assert decision_statistics([make_row(0, decision_seconds=[], decision_iterations=[])]) is None


def test_comparison_by_hand(make_row):
    """Pairs that differ, exact p, and mean difference of the final distance."""
    first = [make_row(index, success=index < 4) for index in range(8)]
    second = [make_row(index, success=True) for index in range(8)]
    found = compare_rows(first, second)
    success = found["success"]
    assert (success["only_first"], success["only_second"]) == (0, 4)
    assert success["difference"] == pytest.approx(0.5)
    assert success["p_value"] == pytest.approx(2 * 0.5**4)
    low, high = success["interval_95"]
    assert 0 < low < 0.5 < high
    assert found["final_distance_px"]["difference"] == pytest.approx(-3.5)
    low, high = found["final_distance_px"]["interval_95"]
    assert low < -3.5 < high
    mirrored = compare_rows(second, first)["success"]
    assert mirrored["interval_95"] == pytest.approx([-end for end in success["interval_95"]][::-1])


def test_order_of_rows_does_not_matter(make_row):
    """Rows are paired by task and planner seed, in whatever order they come."""
    rng = np.random.default_rng(0)
    first = [make_row(index, seed, bool(rng.random() < 0.5)) for index in range(5) for seed in range(2)]
    second = [make_row(index, seed, bool(rng.random() < 0.8)) for index in range(5) for seed in range(2)]
    shuffled = [second[index] for index in rng.permutation(len(second))]
    assert compare_rows(first, second) == compare_rows(first[::-1], shuffled)


def test_comparison_refuses_what_does_not_match(make_row):
    """Other tasks, other seeds, the same pair twice, another task under the same number."""
    rows = [make_row(index) for index in range(3)]
    with pytest.raises(ValueError, match="1 pairs are only in the first, 0 only in the second"):
        compare_rows(rows, rows[:2])
    with pytest.raises(ValueError, match="stands there twice"):
        compare_rows([*rows, rows[0]], rows)
    with pytest.raises(ValueError, match="the task files differ"):
        compare_rows(rows, [{**row, "task_seed": 0} for row in rows])


def test_files_are_compared_under_one_protocol_only(tmp_path, make_row):
    """Two files with one protocol compare; another budget is refused, and named."""
    rows = [make_row(index, success=index < 2) for index in range(4)]
    first, second = write(tmp_path / "a.json", rows), write(tmp_path / "b.json", [make_row(i) for i in range(4)])
    found = compare_files(first, second)
    assert found["comparisons"][0]["success"]["difference"] == pytest.approx(0.5)
    assert "+50.0 points" in comparison_text(found)
    other = write(tmp_path / "c.json", rows, budget_steps=20)
    with pytest.raises(ValueError, match=r"different protocols.*budget_steps: 30 and 20"):
        compare_files(first, other)


def test_files_with_one_method_each_are_compared(tmp_path, make_row):
    """learned in one file, the oracle in the other: the only methods there are."""
    first = write(tmp_path / "a.json", [make_row(i) for i in range(3)])
    second = write(tmp_path / "b.json", [make_row(i, method="true") for i in range(3)])
    (one,) = compare_files(first, second)["comparisons"]
    assert (one["first"], one["second"]) == ("learned", "true")
    both = write(tmp_path / "c.json", [make_row(i, method=name) for i in range(3) for name in ("true", "copy")])
    with pytest.raises(ValueError, match="no method and shift in common"):
        compare_files(first, both)


def test_damaged_results_are_refused(tmp_path, make_row):
    """A missing file, no JSON, no results, and a protocol that was edited."""
    with pytest.raises(FileNotFoundError, match="no results at"):
        read_results(tmp_path / "absent.json")
    (tmp_path / "cut.json").write_text('{"protocol"')
    with pytest.raises(ValueError, match=r"cut.json is not JSON"):
        read_results(tmp_path / "cut.json")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match="lacks a protocol or episodes"):
        read_results(tmp_path / "other.json")
    path = write(tmp_path / "a.json", [make_row()])
    edited = json.loads(path.read_text())
    edited["protocol"]["budget_steps"] = 99
    path.write_text(json.dumps(edited))
    with pytest.raises(ValueError, match="does not fit its hash"):
        read_results(path)


@pytest.mark.parametrize("content", [{"protocol": "x", "episodes": [1]}, {"protocol": {}, "episodes": {"a": 1}}])
def test_entries_of_another_kind_are_refused(tmp_path, content):
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="a.json holds no results of visual-foresight plan"):
        read_results(tmp_path / "a.json")


@pytest.mark.parametrize("name, value", [("success", None), ("final_distance_px", "near"), ("task_seed", 0.5)])
def test_an_episode_that_lacks_what_is_compared_is_named(tmp_path, make_row, name, value):
    path = write(tmp_path / "a.json", [make_row(0), make_row(1)])
    edited = json.loads(path.read_text())
    edited["episodes"][1][name] = value
    path.write_text(json.dumps(edited))
    with pytest.raises(ValueError, match=f"a.json: episode 1 has no usable '{name}'"):
        read_results(path)


def test_what_is_missing_adds_up(make_row):
    """Planner, objective and model together are what the learned model lacks to 100 %."""
    wins = {"true-state": 9, "true": 7, "learned": 4}
    rows = [make_row(i, success=i < count, method=name) for name, count in wins.items() for i in range(10)]
    parts = what_is_missing(rows)
    assert [part["share"] for part in parts] == pytest.approx([0.1, 0.2, 0.3])
    assert sum(part["share"] for part in parts) == pytest.approx(1 - 0.4)
    for part in parts:
        low, high = part["interval_95"]
        assert low <= part["share"] <= high
    assert what_is_missing([row for row in rows if row["method"] != "true"]) is None


def test_methods_with_fewer_planner_seeds_stand_beside_all(make_row):
    """The same parts as if they had been run with every seed, with the same outcome."""
    learned = [make_row(i, seed, success=i + seed < 5, method="learned") for i in range(10) for seed in range(3)]
    once, always = (
        [
            make_row(i, seed, success=i < wins, method=name)
            for name, wins in {"true-state": 10, "true": 8}.items()
            for i in range(10)
            for seed in range(count)
        ]
        for count in (1, 3)
    )
    parts = what_is_missing(once + learned)
    assert [part["share"] for part in parts] == pytest.approx([0.0, 0.2, 0.8 - 12 / 30])
    assert parts[2] == what_is_missing(always + learned)[2]
    two = [row for row in always if row["planner_seed"] < 2]
    assert what_is_missing(two + learned)[2]["share"] == pytest.approx(parts[2]["share"])


def test_shift_curve_is_paired(make_row):
    """Each shift is compared with the same episodes of the usual world; what a shift has no room for is left out."""
    rows = [make_row(i, success=i < 6) for i in range(8)]
    rows += [make_row(i, success=i < 4, shift="mass=1") for i in range(7)]
    rows.append({"method": "learned", "shift": "mass=1", "task": 7, "planner_seed": 0, "skipped": "no room"})
    usual, shifted = shift_curve(rows, "learned")
    assert usual["shift"] == "none" and "difference" not in usual
    assert shifted["success"]["of"] == 7
    assert shifted["difference"]["difference"] == pytest.approx((4 - 6) / 7)
    rows.append({**rows[-1], "shift": "distractor=1"})  # a shift that had no room for any task
    results = make_results(rows, protocol=protocol(), settings={}, methods={}, versions={})
    assert [one["shift"] for one in results["figures"]] == ["none", "mass=1"]
    assert "mass=1" in results_text(results)
    assert json.loads(json.dumps(results)) == results
