"""The results file of `plan` and `demo`: what was run under which protocol, figures, and a row for each episode."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from visual_foresight.benchmark.summary import group_rows, has_run, shift_curve, summarize_method, what_is_missing

RESULTS_FORMAT = 2


def make_results(
    rows: Sequence[Mapping[str, Any]],
    *,
    protocol: Mapping[str, Any],
    settings: Mapping[str, Any],
    methods: Mapping[str, Any],
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """Return what a results file holds, JSON-plain.

    Args:
        rows: of all episodes.
        protocol: from `describe_protocol`.
        settings: how was planned.
        methods: name to what belongs to one method only, such as the weights of the learned model.
        versions: of software.
    """
    groups = group_rows(rows)
    figures = [
        {"method": method, "shift": shift, **summarize_method(found)}
        for (method, shift), found in groups.items()
        if has_run(found)
    ]
    results: dict[str, Any] = {
        "format": RESULTS_FORMAT,
        "date": datetime.now(UTC).date().isoformat(),
        "protocol": dict(protocol),
        "settings": dict(settings),
        "methods": dict(methods),
        "figures": figures,
        "versions": dict(versions),
        "episodes": [dict(row) for row in rows],
    }
    missing = what_is_missing(rows)
    if missing is not None:
        results["missing"] = missing
    if any(shift != "none" for _, shift in groups):
        results["shifts"] = {method: shift_curve(rows, method) for method in dict.fromkeys(name for name, _ in groups)}
    return results
