"""What a collection of episodes came to: counts of its files added up, and shares."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

COUNTS = ("episodes", "frames", "moved", "hidden", "objects", "escaped")


def merge_counts(total: dict[str, dict[str, int]], more: Mapping[str, Mapping[str, int]]) -> None:
    """Adds counts of policies in place.

    Args:
        total: changed.
        more: for each policy: episodes, frames, moved (episodes), hidden and objects (in frames), escaped.
    """
    for policy, counts in more.items():
        row = total.setdefault(policy, dict.fromkeys(COUNTS, 0))
        for name in COUNTS:
            row[name] += counts[name]


def report_of(
    manifest: Mapping[str, Any], directory: str | os.PathLike[str], new: int, seconds: float, busy: float, workers: int
) -> dict[str, Any]:
    """What is told at the end of a collection: counts and shares of all its episodes, and its speed.

    Args:
        manifest: with the counts of each file, "shards".
        directory: of the files.
        new: episodes made by this run.
        seconds: that it took.
        busy: share of the workers' cores that was.
        workers: processes.
    """
    policies: dict[str, dict[str, int]] = {}
    for counts in manifest["shards"].values():
        merge_counts(policies, counts)
    total: dict[str, dict[str, int]] = {}
    for counts in policies.values():
        merge_counts(total, {"all": counts})
    return {
        "directory": str(directory),
        "episodes": total["all"]["episodes"],
        "new_episodes": new,
        "seconds": round(seconds, 2),
        "episodes_per_second": round(new / seconds, 2),
        "workers": workers,
        "cores_busy": round(busy, 3),
        **_shares(total["all"]),
        "policies": {
            name: {"episodes": counts["episodes"], **_shares(counts)} for name, counts in sorted(policies.items())
        },
    }


def _shares(counts: Mapping[str, int]) -> dict[str, Any]:
    return {
        "moved_share": round(counts["moved"] / counts["episodes"], 4),
        "hidden_share": round(counts["hidden"] / counts["objects"], 4),
        "escaped": counts["escaped"],
    }
