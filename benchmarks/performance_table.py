"""The tables of `docs/performance.md` from the results beside this file: `python benchmarks/performance_table.py`.

Text and figures cannot differ: every measured value between the marks is read from a JSON file under
`benchmarks/results/`, the newest of its kind. Without options the page is rewritten; `--check` only says whether it
would change (exit code 1). What has no result yet is marked as not measured.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "performance.md"
MISSING = "**not measured yet**"

Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Args:
        figure: what is measured.
        target: of the project.
        kind: results are the newest `*-{kind}.json`.
        read: the measured value in words, from that file; a KeyError means that the file does not hold it.
        how: by what means, in a few words.
    """

    figure: str
    target: str
    kind: str
    read: Callable[[Figures], str]
    how: str


def measurement(results: Figures, name: str) -> Figures:
    """Return one of the measurements of a `bench` result by name.

    Raises:
        KeyError: it is not there.
    """
    for each in results["measurements"]:
        if each["name"] == name:
            return each
    raise KeyError(name)


def decision(results: Figures) -> str:
    found = measurement(results, "decision, published")
    return f"p50 {found['milliseconds_median'] / 1e3:.2f} s, p95 {found['milliseconds_p95'] / 1e3:.2f} s"


def share_of_network(results: Figures) -> str:
    return f"{100 * measurement(results, 'decision, published')['facts']['network_share']:.0f} %"


def against_seed(results: Figures) -> str:
    words = []
    for batch in (32, 64):
        facts = measurement(results, f"rollout, batch {batch}")["facts"]
        steps, frames = facts["control_steps_ratio"], facts["frames_ratio"]
        words.append(f"batch {batch}: {steps:.0f}x in control steps ({frames:.0f}x in network frames)")
    return "; ".join(words)


def seed_inference(results: Figures) -> str:
    facts = measurement(results, "seed bfloat16")["facts"]
    return f"{facts['speedup']:.2f}x; {facts['psnr_between_db']:.1f} dB between their frames"


def seed_training(results: Figures) -> str:
    words = []
    for batch in (8, 32):
        if f"training-{batch}" in results:
            speed = results[f"training-{batch}"]["speed"]["bfloat16"]
            ratios = speed["speedup_wall"], speed["speedup_processor"]
            words.append(f"batch {batch}: {ratios[0]:.2f}x on the wall, {ratios[1]:.2f}x in processor time")
    if not words:
        raise KeyError("training")
    return "; ".join(words)


def accelerated_decisions(results: Figures) -> str:
    words = []
    for name in ("seed", "push_fast_1", "push_fast"):
        found = results["decisions"][f"published, {name} bfloat16"]
        words.append(f"`{name}` p50 {found['p50_ms']:.1f} ms, p95 {found['p95_ms']:.1f} ms")
    return "; ".join(words)


def accelerated_training(results: Figures) -> str:
    found = results["training"]["seed bfloat16, batch 32"]
    share = 100 * found["share_of_matrix_product_bfloat16"]
    rate = f"{found['teraflops']:.0f} TFLOP/s, {found['frames_per_second']:,} frames/s"
    return f"{share:.1f} % ({rate}; {found['p50_ms']:.1f} ms a step)"


def shards(results: Figures) -> str:
    found = measurement(results, "data, raw shards")
    spent = found["facts"]["frames_per_processor_second"]
    return f"{found['rate_per_second']:,.0f} frames/s; {spent:,.0f} for each CPU second"


def keeps_up(results: Figures) -> str:
    rate = measurement(results, "data, raw shards")["rate_per_second"]
    consumed = measurement(results, "fast training")["facts"]["consumed_frames_per_second"]
    return f"{rate / consumed:.0f}x what `fast` training consumes"


ROWS = (
    Row(
        "decision, `fast`, 200 x 3 x 15 control steps, context included",
        "p50 <= 0.7 s, p95 <= 1.0 s",
        "bench",
        decision,
        "leaps of several control steps a network call, held actions, one start for all candidates",
    ),
    Row("rollout, `fast` against `seed` float32", ">= 100x", "bench", against_seed, "coarse features, leaps"),
    Row(
        "`seed` inference, bfloat16 against float32", ">= 1.8x, within 0.5 dB", "bench", seed_inference, "seed_speed.md"
    ),
    Row(
        "`seed` training step, length 10, against plain float32 layers",
        ">= 2x",
        "seed-speed",
        seed_training,
        "seed_speed.md",
    ),
    Row(
        "share of a decision inside the network",
        ">= 90 %",
        "bench",
        share_of_network,
        "same candidates rolled out alone",
    ),
    Row(
        "windows of 10 from 64x64 TFRecord shards", ">= 25,000 frames/s", "data", shards, "encoding raw, read in place"
    ),
    Row("such windows, against `fast` training", "never the bottleneck", "bench", keeps_up, "both in this run"),
    Row(
        "H200: decision, `seed` bfloat16 / `fast`",
        "p95 <= 100 ms / <= 10 ms",
        "accelerator",
        accelerated_decisions,
        "Keras on JAX, costs beside the network",
    ),
    Row(
        "H200: `seed` training, batch 32",
        ">= 30 % of the matrix product peak",
        "accelerator",
        accelerated_training,
        "the same, steps one after the other; see below",
    ),
)

COMPARED = ("planner", "solve", "outside the cost", "evaluated", "best found", "answered", "above iCEM")


def newest(row: Row, folder: Path = RESULTS) -> tuple[str, str]:
    """Return the newest value of a row and its file: names begin with their date, and not every run measures all."""
    for path in sorted(folder.glob(f"*-{row.kind}.json"), reverse=True):
        try:
            return row.read(json.loads(path.read_text(encoding="utf-8"))), f"`{path.name}`"
        except KeyError:
            continue
    return MISSING, "-"


def targets_table(folder: Path = RESULTS) -> str:
    """Return the table of targets."""
    lines = ["| figure | target | measured | how | result |", "|---|---|---|---|---|"]
    for row in ROWS:
        value, source = newest(row, folder)
        lines.append(f"| {row.figure} | {row.target} | {value} | {row.how} | {source} |")
    return "\n".join(lines)


def planners_table(folder: Path = RESULTS) -> str:
    """Return the comparison of planners, one table for each file of it."""
    from visual_foresight.speed.comparison import above

    blocks = []
    for path in sorted(folder.glob("*-planners-*.json")):
        results = json.loads(path.read_text(encoding="utf-8"))
        budget = results["budget"]
        blocks.append(
            f"`{path.name}`: {budget['candidates']} candidates x {budget['iterations']} iterations, "
            f"{budget['horizon']} control steps, load average {results['load_average']}."
        )
        lines = [f"| cost | {' | '.join(COMPARED)} |", "|---" * (len(COMPARED) + 1) + "|"]
        for row in results["comparison"]:
            lines.append(
                f"| {row['problem']} | {row['planner']} | {row['milliseconds_median']:.1f} ms "
                f"| {row['overhead_milliseconds_median']:.1f} ms | {row['evaluations']:.0f} "
                f"| {row['best_cost_mean']:.4g} ± {row['best_cost_deviation']:.2g} "
                f"| {row['answer_cost_mean']:.4g} ± {row['answer_cost_deviation']:.2g} | {above(row)} |"
            )
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) if blocks else MISSING


TABLES: dict[str, Callable[[Path], str]] = {"targets": targets_table, "planners": planners_table}


def rendered(page: str, folder: Path = RESULTS) -> str:
    """Return the page with each table between its marks made anew.

    Raises:
        ValueError: a mark is missing.
    """
    for name, make in TABLES.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        if begin not in page or end not in page:
            raise ValueError(f"the page has no marks {begin.strip()} and {end}: put them around the table")
        before, rest = page.split(begin, 1)
        page = before + begin + make(folder) + "\n" + end + rest.split(end, 1)[1]
    return page


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether the page is as the results have it")
    args = parser.parse_args()
    page = PAGE.read_text(encoding="utf-8")
    new = rendered(page)
    if args.check:
        print("up to date" if new == page else "the page differs: run python benchmarks/performance_table.py")
        return int(new != page)
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
