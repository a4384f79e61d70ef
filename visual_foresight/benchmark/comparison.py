"""Two runs, compared pair by pair: the same task with the same planner seed."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from visual_foresight.benchmark.protocol import protocol_differences, protocol_hash
from visual_foresight.benchmark.rows import unusable_entry
from visual_foresight.benchmark.statistics import bootstrap_interval, paired_share_interval, sign_flip_test

Rows = Sequence[Mapping[str, Any]]


def compare_rows(first: Rows, second: Rows, *, across_shifts: bool = False) -> dict[str, Any]:
    """Compare two lists of rows, second minus first, JSON-plain.

    Args:
        first: of one method.
        second: of another one, or of the same in another run or world.
        across_shifts: compare what both have, whatever the shift; episodes that a shift has no room for are left out.

    Returns:
        "success" (difference of shares, interval, exact p, pairs that differ), "final_distance_px" (mean difference
        with a paired bootstrap interval), and numbers of pairs and tasks.

    Raises:
        ValueError: tasks or planner seeds do not match.
    """
    mine, theirs = _by_pair(first), _by_pair(second)
    pairs = sorted(mine.keys() & theirs.keys())
    if not pairs or (not across_shifts and mine.keys() != theirs.keys()):
        raise ValueError(_mismatch(mine.keys(), theirs.keys()))
    rows = [(mine[pair], theirs[pair]) for pair in pairs]
    for one, other in rows:
        if one["task_seed"] != other["task_seed"]:
            raise ValueError(f"task {one['task']} is another one in the second run: the task files differ")
    tasks = [one["task"] for one, _ in rows]
    outcomes = np.array([[one["success"], other["success"]] for one, other in rows], float)
    distances = np.array([other["final_distance_px"] - one["final_distance_px"] for one, other in rows])
    return {
        "num_pairs": len(pairs),
        "num_tasks": len(set(tasks)),
        "success": _success(outcomes, tasks),
        "final_distance_px": {
            "difference": float(distances.mean()),
            "interval_95": list(bootstrap_interval(distances, tasks)),
            "interval": "paired bootstrap over tasks",
        },
    }


def _success(outcomes: np.ndarray, tasks: Sequence[int]) -> dict[str, Any]:
    first, second = outcomes.T
    alone = len(set(tasks)) == len(tasks)
    return {
        "first": float(first.mean()),
        "second": float(second.mean()),
        "difference": float(second.mean() - first.mean()),
        "interval_95": list(paired_share_interval(first, second, tasks)),
        "only_first": int(np.sum(first > second)),
        "only_second": int(np.sum(second > first)),
        "p_value": sign_flip_test(second - first, tasks),
        "test": "McNemar, exact" if alone else "McNemar, exact, signs changed by whole tasks",
    }


def compare_files(first: str | os.PathLike, second: str | os.PathLike) -> dict[str, Any]:
    """Compare two results files: every method and shift that both hold, or the only method of each.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: no results file, another protocol, other tasks, or no method in common.
    """
    one, other = read_results(first), read_results(second)
    if one["protocol"]["sha256"] != other["protocol"]["sha256"]:
        differences = "; ".join(protocol_differences(one["protocol"], other["protocol"]))
        raise ValueError(
            f"{first} and {second} were run under different protocols and say nothing about each other: {differences}"
        )
    compared = []
    for (method, shift), (rival, _) in _partners(one["episodes"], other["episodes"], f"{first} and {second}"):
        mine = [row for row in one["episodes"] if (row["method"], row["shift"]) == (method, shift)]
        theirs = [row for row in other["episodes"] if (row["method"], row["shift"]) == (rival, shift)]
        try:
            found = compare_rows(mine, theirs)
        except ValueError as error:
            raise ValueError(f"{first} and {second}, {method}: {error}") from error
        compared.append({"first": method, "second": rival, "shift": shift, **found})
    return {
        "kind": "comparison of control results",
        "first": str(first),
        "second": str(second),
        "protocol_sha256": one["protocol"]["sha256"],
        "comparisons": compared,
    }


def read_results(path: str | os.PathLike) -> dict[str, Any]:
    """Read a results file of `plan` (or a folder that holds results.json).

    Raises:
        FileNotFoundError: it is not there.
        ValueError: not such a file, or its protocol does not fit its hash.
    """
    path = Path(path)
    path = path / "results.json" if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"no results at {path}; visual-foresight plan writes results.json")
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error})") from error
    if not isinstance(results, dict) or not {"protocol", "episodes"} <= results.keys() or not results["episodes"]:
        raise ValueError(f"{path} holds no results of visual-foresight plan: it lacks a protocol or episodes")
    if not isinstance(results["protocol"], dict) or not isinstance(results["episodes"], list):
        raise ValueError(f"{path} holds no results of visual-foresight plan: protocol or episodes are of another kind")
    if protocol_hash(results["protocol"]) != results["protocol"].get("sha256"):
        raise ValueError(f"{path}: its protocol does not fit its hash; it was changed by hand or damaged")
    for number, row in enumerate(results["episodes"]):
        unusable = unusable_entry(row)
        if unusable is not None:
            raise ValueError(f"{path}: episode {number} has no usable {unusable}; the file is damaged")
    return results


def _partners(first: Rows, second: Rows, names: str) -> list[tuple[tuple[str, str], tuple[str, str]]]:
    mine = sorted({(row["method"], row["shift"]) for row in first})
    theirs = sorted({(row["method"], row["shift"]) for row in second})
    common = [(group, group) for group in mine if group in theirs]
    if common:
        return common
    methods = [{method for method, _ in groups} for groups in (mine, theirs)]
    shifts = {shift for _, shift in mine} & {shift for _, shift in theirs}
    if all(len(found) == 1 for found in methods) and shifts:
        (one,), (other,) = methods
        return [((one, shift), (other, shift)) for shift in sorted(shifts)]
    raise ValueError(f"{names} have no method and shift in common: {mine} and {theirs}")


def _by_pair(rows: Rows) -> dict[tuple[int, int], Mapping[str, Any]]:
    found: dict[tuple[int, int], Mapping[str, Any]] = {}
    for row in rows:
        if "skipped" in row:
            continue
        pair = (row["task"], row["planner_seed"])
        if pair in found:
            raise ValueError(
                f"task {pair[0]} with planner seed {pair[1]} stands there twice; compare one method with one"
            )
        found[pair] = row
    return found


def _mismatch(first: Any, second: Any) -> str:
    only = [len(first - second), len(second - first)]
    return (
        f"the runs hold different tasks or planner seeds: {only[0]} pairs are only in the first, {only[1]} only in the "
        f"second, {len(first & second)} in both; run both with the same --tasks, --episodes, --seed and --planner_seeds"
    )
