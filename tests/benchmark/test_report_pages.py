"""The page, the pictures and the text of a benchmark run: legible however short it is, and true about its worlds."""

import numpy as np
import pytest
from PIL import ImageFont

from visual_foresight import pictures
from visual_foresight.benchmark import gallery, page, text
from visual_foresight.benchmark.results import make_results

PROTOCOL = {"tasks": {"name": "t"}, "budget_steps": 30, "success": "near", "sha256": "0" * 64, "drawing": {"a": "b"}}


def results(rows):
    """A results file of made-up rows."""
    return make_results(rows, protocol=PROTOCOL, settings={"deadline_ms": None}, methods={}, versions={})


@pytest.fixture
def rows(make_row):
    """Six tasks in the unshifted world and in one with another light, some of them failed."""
    worlds = ("none", "light=1")
    return [make_row(task, success=task > 2, shift=shift, tolerance_px=3.0) for shift in worlds for task in range(6)]


@pytest.mark.parametrize("steps", [1, 2, 6, 30])
def test_titles_of_a_strip_fit_into_it(steps, make_record, monkeypatch):
    """However few decisions there are, no title is wider than what it stands on, nor written smaller to fit."""
    titles = []

    def noted(image, title, *, size=13, **more):
        titles.append((title, size, image.shape[1]))
        return caption(image, title, size=size, **more)

    def plotted(values, *, size, title, **more):
        titles.append((title, 12, size[1] - 42))
        return line_plot(values, size=size, title=title, **more)

    caption, line_plot = pictures.caption, pictures.line_plot
    monkeypatch.setattr(pictures, "caption", noted)
    monkeypatch.setattr(pictures, "line_plot", plotted)
    gallery.failure_strip(make_record(np.full((steps + 1, 2), 20.0)))
    assert len(titles) >= 5
    for title, size, width in titles:
        assert ImageFont.load_default(size).getlength(title) <= width, title


def test_failures_say_which_world_they_count(rows):
    """With other worlds in the run, strata and failures name theirs; without, there is nothing to say."""
    assert "failures in the unshifted world: stuck 3" in text.results_text(results(rows))
    assert "learned in the unshifted world, by" in text.results_text(results(rows))
    assert "\nfailures: stuck 3" in text.results_text(results(rows[:6]))


def test_no_distance_is_told_below_zero(make_row, tmp_path):
    """Student's interval of two far distances crosses 0: neither the page nor the text prints that part of it."""
    made = results([make_row(0, distance=0.5, tolerance_px=3.0), make_row(1, distance=3.5, tolerance_px=3.0)])
    assert made["figures"][0]["final_distance_px"]["interval_95"][0] < 0
    written = page.write_benchmark_report(tmp_path / "r.html", made).read_text()
    assert "2.0 (0.0 to 21.1)" in written
    assert "2.0 (0.0-21.1)" in text.results_text(made)
    assert "10.0 (-9.1 to 29.1)" in written  # what was gained may be negative


def test_the_page_prints_no_python(rows, tmp_path):
    """Nested facts and missing ones are words."""
    written = page.write_benchmark_report(tmp_path / "r.html", results(rows)).read_text().split("<script>")[0]
    assert "<td>a: b</td>" in written
    assert ">None<" not in written and "{&#x27;" not in written


def test_failures_near_the_tolerance_show_it(make_row, tmp_path):
    """A failure 3.02 px from the goal is not captioned as 3.0 px."""
    row = make_row(success=False, distance=3.02, tolerance_px=3.0)
    assert "3.02 px at the end" in gallery.failure_gallery(tmp_path, [row])
