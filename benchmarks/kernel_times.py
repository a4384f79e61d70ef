"""Times of kernels from the traces of `jax.profiler`, read with the standard library."""

from __future__ import annotations

import gzip
import json
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any


def profile(work: Callable, folder: Path) -> dict[str, Any]:
    """Time in kernels, its share of the time on the wall, and the kernels that take most of it."""
    import jax

    for _ in range(3):
        work()
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0  # it would slow down what is measured, and fill the file
    with jax.profiler.trace(str(folder), profiler_options=options):
        began = time.perf_counter()
        work()
        wall = time.perf_counter() - began
    (path,) = sorted(folder.rglob("*.trace.json.gz"))[-1:]
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    return {"wall_ms": round(1e3 * wall, 3), **summary(events, 1e6 * wall)}


def summary(events: list[dict[str, Any]], wall: float) -> dict[str, Any]:
    """Sum up a Chrome trace; on a CPU, which has no process of kernels, whatever ran [microseconds]."""
    named = {each["pid"]: each["args"]["name"] for each in events if each.get("name") == "process_name"}
    lines = {(each["pid"], each["tid"]): each["args"]["name"] for each in events if each.get("name") == "thread_name"}
    devices = {pid for pid, name in named.items() if "/device:" in name} or set(named)
    streams = {key for key, name in lines.items() if key[0] in devices and "Stream" in name}
    ran = [each for each in events if each.get("ph") == "X" and each["pid"] in devices]
    ran = [each for each in ran if not streams or (each["pid"], each["tid"]) in streams]
    times: dict[str, list[float]] = defaultdict(list)
    for each in ran:
        times[each["name"]].append(each.get("dur", 0.0))
    total = sum(sum(each) for each in times.values())
    largest = sorted(times.items(), key=lambda item: -sum(item[1]))[:25]
    return {
        "processes": sorted(named.values()),
        "kernels": len(ran),
        "kernels_ms": round(1e-3 * total, 3),
        "busy_share": round(total / wall, 3),
        "largest": [
            {"name": name[:120], "calls": len(each), "ms": round(1e-3 * sum(each), 3)} for name, each in largest
        ],
    }
