"""The page on performance says what the results say."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("performance_table", ROOT / "benchmarks" / "performance_table.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["performance_table"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["performance_table"]


def test_the_page_is_as_the_results_have_it(script):
    """Making the tables anew changes nothing: python benchmarks/performance_table.py was run."""
    page = script.PAGE.read_text()
    assert script.rendered(page) == page


def test_values_come_from_the_newest_result(script, tmp_path):
    """A later file replaces an earlier one; what no file holds is marked."""
    for date, rate in (("2026-11-21", 10_000.0), ("2026-11-22", 30_000.0)):
        found = {"name": "data, raw shards", "rate_per_second": rate, "facts": {"frames_per_processor_second": 1.0}}
        (tmp_path / f"{date}-data.json").write_text(json.dumps({"measurements": [found]}))
    table = script.targets_table(tmp_path)
    assert "30,000 frames/s" in table and "10,000" not in table
    assert table.count(script.MISSING) == len(script.ROWS) - 1


def test_every_row_reads_what_bench_writes(script, tmp_path):
    """The names that the rows look for are those of `bench`."""
    facts = {"network_share": 0.9, "control_steps_ratio": 120.0, "frames_ratio": 24.0, "speedup": 1.9}
    facts |= {"psnr_between_db": 40.0, "frames_per_processor_second": 5.0, "consumed_frames_per_second": 500.0}
    names = ("decision, published", "rollout, batch 32", "rollout, batch 64", "seed bfloat16", "data, raw shards")
    rows = [
        {"name": name, "rate_per_second": 1e4, "milliseconds_median": 600.0, "milliseconds_p95": 800.0, "facts": facts}
        for name in (*names, "fast training")
    ]
    for kind in ("bench", "data"):
        (tmp_path / f"2026-11-22-{kind}.json").write_text(json.dumps({"measurements": rows}))
    speed = {"bfloat16": {"speedup_wall": 1.5, "speedup_processor": 2.04}}
    (tmp_path / "2026-11-22-seed-speed.json").write_text(json.dumps({"training-32": {"speed": speed}}))
    # A later run that measured less does not hide what an earlier one found.
    (tmp_path / "2026-11-23-bench.json").write_text(json.dumps({"measurements": rows[:1]}))
    table = script.targets_table(tmp_path)
    missing = [line for line in table.splitlines() if script.MISSING in line]
    assert len(missing) == 2 and all(line.startswith("| H200") for line in missing)
    assert "batch 32: 1.50x on the wall, 2.04x in processor time" in table and "120x" in table
    assert "p50 0.60 s, p95 0.80 s" in table and "20x what" in table


def test_marks_are_needed(script):
    """A page without marks is refused."""
    with pytest.raises(ValueError, match="has no marks <!-- targets -->"):
        script.rendered("nothing")
