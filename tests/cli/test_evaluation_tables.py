"""Tables of `evaluate`: columns stay apart, and no interval is made up."""

import pytest

from visual_foresight.cli import evaluation_tables

FIGURES = ("psnr", "moving_psnr", "ssim")


def figure(mean, low, high, count=4):
    """An interval as a report has it."""
    return {"mean": mean, "low": low, "high": high, "count": count}


def made_report(value, count=4):
    """A report in which every figure is the same."""
    row = {
        f"{prefix}{name}{suffix}": value
        for name in FIGURES
        for prefix in ("", "copy_")
        for suffix in ("", "_difference")
    }
    pixels = {"5": {"still": {"visible": {name: value for name in ("expected", "whole", "mean", "mode", "no_motion")}}}}
    other = {"steps": [row] * 5, "mean": row, "pixels": pixels}
    horizon = {name: value for name in ("rank_correlation", "regret", "top_regret", "copy_regret", "copy_top_regret")}
    bank = {"bank": "b", "scenes": count, "sequences": 9, "top": 3, "horizons": {"5": horizon}}
    return {
        "model": "ours",
        "episodes": count,
        "context_frames": 2,
        "stride": 1,
        "steps": [row] * 5,
        "mean": row,
        "pixels": pixels,
        "comparisons": {"theirs": other},
        "bank": {"name": "bank", "predictors": {"ours": bank}},
    }


@pytest.mark.parametrize("size", [1.0, 100.0, 123456.0])
def test_columns_are_always_apart(size):
    """However wide the figures are, two spaces at least stand before each column after the first."""
    lines = evaluation_tables.as_text(made_report(figure(-2.61 * size, -3.87 * size, -1.22 * size))).splitlines()
    cells = [line for line in lines if "[-" in line]
    assert len(cells) > 10
    for line in cells:
        _, *later = line.split("]")
        assert all(part.startswith("  ") for part in later if part), line


def test_one_item_has_no_interval():
    """Of one episode the mean stands alone, and "1 episode" is singular."""
    text = evaluation_tables.as_text(made_report(figure(4.571, 4.571, 4.571, 1), 1))
    assert "4.57" in text and "[4.5" not in text
    assert text.startswith("1 episode, ")
    assert "1 scene x 9 sequences" in text


def test_n_is_explained():
    """The column n says what it counts."""
    assert "n: episodes" in evaluation_tables.as_text(made_report(figure(1.0, 0.5, 1.5)))
