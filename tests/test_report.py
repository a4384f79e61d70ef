"""The report of an episode: complete in itself, true to the record, safe whatever the names are."""

import html.parser
import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visual_foresight import animation, charts, pictures, report, wording
from visual_foresight.benchmark.statistics import wilson_interval
from visual_foresight.control_record import ControlRecord, Decision, summarize
from visual_foresight.video_files import write_gif


def decision(step: int, *, maps: bool = True) -> Decision:
    """A plan of four steps with expected pictures."""
    rng = np.random.default_rng(step)
    return Decision(
        step=step,
        actions=np.zeros((4, 2), np.float32),
        cost=10.0 - step,
        seconds=0.5 + step,
        elite_costs=(30.0 - step, 20.0 - step),
        frames=rng.integers(0, 256, (4, 16, 16, 3), dtype=np.uint8),
        distributions=np.full((4, 16, 16), 1 / 256, np.float32) if maps else None,
        pixels=np.full((4, 2), 5.0),
    )


def record(*, name: str = "push #1", success: bool = True, decisions=None) -> ControlRecord:
    """Six steps straight to the goal, planned every second step."""
    frames = np.random.default_rng(0).integers(0, 256, (7, 16, 16, 3), dtype=np.uint8)
    pixels = np.stack([np.full(7, 8.0), np.arange(7) + 2.0], axis=1)
    chosen = [decision(step) for step in (0, 2, 4)] if decisions is None else decisions
    return ControlRecord(name, frames, pixels, np.array([8.0, 8.0]), 2.0, np.zeros((6, 2)), success, chosen)


class Collector(html.parser.HTMLParser):
    """Collects what a page refers to, and checks that its elements are closed."""

    VOID = ("meta", "img", "input", "br", "line", "image", "circle", "polyline")

    def __init__(self):
        super().__init__()
        self.addresses, self.open, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(path) -> Collector:
    page = Collector()
    page.feed(path.read_text())
    assert page.open == []
    return page


def test_page_is_complete_in_itself(tmp_path):
    """Every address in the page is a data address or a place in the page, and no script or style asks for more."""
    gif = write_gif(tmp_path / "demo.gif", [np.zeros((8, 8, 3), np.uint8)] * 2)
    path = report.write_report(tmp_path / "report.html", [record(), record()], settings={"seed": 1}, animation=gif)
    page = read(path)
    assert len(page.addresses) >= 4
    assert all(address.startswith(("data:image/", "#")) for address in page.addresses)
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org)", path.read_text())


def test_page_tells_the_result(tmp_path):
    """Counts, distances, settings and versions stand in the page."""
    records = [record(), record(success=False)]
    text = " ".join(read(report.write_report(tmp_path / "r.html", records, settings={"planner": "cem"})).text)
    for wanted in ("1 of 2", "not reached", "6.0 px", "cem", "visual-foresight", "keras", "Distance to the goal"):
        assert wanted in text


def test_equal_distances_are_both_told(tmp_path):
    """A point that did not move is told as such: start and end stand there though they are the same."""
    made = record()
    still = ControlRecord("s", made.frames, np.full((7, 2), 4.0), made.goal, 2.0, made.actions, False)
    text = " ".join(read(report.write_report(tmp_path / "r.html", [still], settings={})).text)
    assert text.count("5.7 px") >= 4
    assert "distance at the start" in text
    assert "distance at the end" in text


def test_only_what_runs_first_may_have_built_the_model(tmp_path):
    """The chart of decision times speaks of building in the first episode of a run, and never by default."""
    text = " ".join(read(report.write_report(tmp_path / "r.html", [record(), record()], settings={})).text)
    assert text.count("building the model") == 1
    assert text.count("Time of a decision") == 2
    assert "building" not in report.episode_section(record(), anchor="a")


def test_settings_are_words():
    """Nothing of Python's own notation stands in a table of facts."""
    table = report.fact_table("Settings", {"drawing": {"renderer": "ray", "size": [64, 64]}, "deadline": None})
    assert "renderer: ray; size: (64, 64)" in table
    assert not any(sign in table for sign in ("{", "[", "&#x27;", "None"))


@given(distance=st.floats(0, 20), tolerance=st.sampled_from([2.0, 3.0]))
def test_a_told_distance_lies_on_its_side_of_the_tolerance(distance, tolerance):
    """Rounding moves no distance into or out of the tolerance, unless it is within 0.0001 px of it."""
    told = float(wording.distance_text(distance, tolerance).removesuffix(" px"))
    assert abs(told - distance) <= 0.05 + 1e-9
    if abs(distance - tolerance) > 1e-4:
        assert (told <= tolerance) == (distance <= tolerance)


def test_near_distances_show_two_digits_and_one_step_is_no_steps(tmp_path):
    """3.02 px is not called 3.0 px where 3 px count, and an episode of one step has "1 step"."""
    made = record()
    pixels = np.array([[8.0, 2.0], [8.0, 4.98]])
    short = ControlRecord("s", made.frames[:2], pixels, made.goal, 3.0, made.actions[:1], False)
    text = " ".join(read(report.write_report(tmp_path / "r.html", [short], settings={})).text)
    assert "3.02 px after 1 step;" in text


def test_film_numbers_the_steps_of_every_row(monkeypatch):
    """Each picture of the film has the step it belongs to: those of the plan are not those of the camera above."""
    said = []
    caption = pictures.caption
    monkeypatch.setattr(
        pictures, "caption", lambda image, text, **more: said.append(text) or caption(image, text, **more)
    )
    report.episode_section(record(decisions=[decision(2)]), anchor="a")
    numbers = [text for text in said if text.startswith("step ")]
    assert numbers == [f"step {step}" for step in (*range(7), 3, 4, 5, 6, 3, 4, 5, 6)]


def test_player_data_is_the_record(tmp_path):
    """What the player shows is what happened: pixels, goal, distances and the steps of the plans."""
    text = report.write_report(tmp_path / "r.html", [record()], settings={}).read_text()
    content = json.loads(re.search(r'<script type="application/json">(.*?)</script>', text, re.S).group(1))
    assert content["pixels"][0] == [8.0, 2.0]
    assert content["goal"] == [8.0, 8.0]
    assert content["distances"][-1] == 0.0
    assert [each["step"] for each in content["decisions"]] == [0, 2, 4]
    assert all(each["count"] == 4 and "heat" in each for each in content["decisions"])


@settings(max_examples=15, deadline=None)
@given(name=st.text(max_size=30) | st.just("</script><script>alert(1)</script>") | st.just('"><img src=x>'))
def test_names_cannot_break_the_page(name, tmp_path_factory):
    """Whatever a task or a setting is called, it is text."""
    folder = tmp_path_factory.mktemp("names")
    page = read(report.write_report(folder / "r.html", [record(name=name)] * 2, settings={name: name}, title=name))
    assert all(address.startswith(("data:image/", "#")) for address in page.addresses)


@pytest.mark.parametrize("decisions", [[], [decision(0, maps=False)], [Decision(0, np.zeros((4, 2)), 1.0, 0.1)]])
def test_simulators_that_draw_nothing_still_make_a_report(tmp_path, decisions):
    """No plan, no maps or no pictures: the page and the animation come out with what there is."""
    made = record(decisions=decisions)
    read(report.write_report(tmp_path / "r.html", [made], settings={}))
    shapes = {frame.shape for frame in animation.control_frames(made, scale=2)}
    assert len(shapes) == 1


def test_animation_shows_every_step():
    """Each executed step has its glances ahead, and the end is held for a while."""
    frames = list(animation.control_frames(record(), scale=2, glances=2))
    assert len(frames) == 7 * 2 + 8
    assert (frames[-1] == frames[-8]).all()
    assert (frames[0] != frames[-1]).any()


def test_report_of_nothing_is_refused(tmp_path):
    """A report needs an episode."""
    with pytest.raises(ValueError, match="no episode"):
        report.write_report(tmp_path / "r.html", [], settings={})


def test_decision_at_is_the_plan_in_force():
    """At each step the last plan made at or before it counts."""
    made = record()
    assert [made.decision_at(step).step for step in range(6)] == [0, 0, 2, 2, 4, 4]
    assert record(decisions=[decision(3)]).decision_at(1) is None


def test_summary_counts_what_the_records_say():
    """Figures of the summary against the records, the first decisions apart from the later ones."""
    summary = summarize([record(), record(success=False)])
    assert (summary["num_successes"], summary["num_episodes"]) == (1, 2)
    assert summary["last_distance_px_mean"] == 0.0
    assert summary["first_distance_px_mean"] == 6.0
    assert summary["decision_seconds"]["first"] == 0.5
    assert summary["decision_seconds"]["max"] == 4.5
    assert json.loads(json.dumps(summary)) == summary


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(0, 50, 0.0, 0.0713), (50, 50, 0.9287, 1.0), (10, 25, 0.2340, 0.5926), (8, 16, 0.2800, 0.7200)],
)
def test_wilson_interval_golden(successes, trials, low, high):
    """Values of the published formula, to four digits."""
    np.testing.assert_allclose(wilson_interval(successes, trials), (low, high), atol=6e-5)


@given(trials=st.integers(1, 500), share=st.floats(0, 1))
def test_wilson_interval_holds_the_share(trials, share):
    """The interval lies in [0, 1], holds the observed share, and mirrors when successes and failures change places."""
    successes = round(share * trials)
    low, high = wilson_interval(successes, trials)
    assert 0 <= low <= successes / trials + 1e-12
    assert successes / trials - 1e-12 <= high <= 1
    np.testing.assert_allclose(wilson_interval(trials - successes, trials), (1 - high, 1 - low), atol=1e-9)


def test_wilson_interval_needs_a_trial():
    """No trial, or more successes than trials, is refused."""
    with pytest.raises(ValueError, match="got 0 of 0"):
        wilson_interval(0, 0)
    with pytest.raises(ValueError, match="got 3 of 2"):
        wilson_interval(3, 2)


@given(low=st.floats(-1e5, 1e5), span=st.floats(1e-3, 1e5))
def test_ticks_are_round_few_and_inside(low, span):
    """Ticks lie in the range, evenly, and there are a handful of them."""
    places = charts.ticks(low, low + span)
    assert 1 <= len(places) <= 12
    assert all(low - span * 1e-6 <= place <= low + span * (1 + 1e-6) for place in places)
    assert len(np.unique(np.diff(places).round(9))) <= len(places)


def test_a_chart_of_one_value_has_one_tick_of_its_step():
    """One decision at step 0: the horizontal axis does not repeat the 0."""
    made = charts.line_chart([charts.Line([2.0])], title="Time", x_label="step", y_label="s")
    assert re.findall(r'class="tick x"[^>]*>([^<]+)<', made) == ["0", "1"]


def test_chart_without_values_says_so():
    """Nothing but gaps gives a note in place of an empty frame."""
    made = charts.line_chart([charts.Line([np.nan])], title="Cost", x_label="", y_label="")
    assert "No data" in made


def test_chart_skips_gaps_and_keeps_order():
    """Values that are not finite are left out; the others rise on the page as they rise."""
    made = charts.line_chart([charts.Line([1.0, np.nan, 3.0])], title="Cost", x_label="", y_label="")
    points = re.search(r'points="([^"]+)"', made).group(1).split()
    heights = [float(point.split(",")[1]) for point in points]
    assert len(points) == 2
    assert heights[1] < heights[0]
