"""The journal: what was written is read back, what was cut off is dropped, and runs are never mixed."""

import json

import pytest

from visual_foresight.benchmark.journal import Journal, holds_rows

IDENTITY = {"protocol": {"budget_steps": 30}, "settings": {"horizon": 15}}


def test_rows_come_back_in_order(tmp_path, make_row):
    """Rows that finished in any order are read in one order, by another Journal too."""
    rows = [make_row(task, seed) for task in range(3) for seed in range(2)]
    journal = Journal(tmp_path / "run" / "journal.jsonl", IDENTITY)
    for row in reversed(rows):
        journal.add(row)
    assert journal.rows == rows == Journal(journal.path, IDENTITY).rows
    assert ("learned", "none", 2, 1) in journal
    assert ("learned", "none", 3, 0) not in journal


def test_whether_there_are_rows_is_told_without_reading_them(tmp_path, make_row):
    """Of no file, of another kind of file, of a journal that has just begun, and of one with an episode."""
    path = tmp_path / "journal.jsonl"
    assert not holds_rows(path)
    path.write_text('{"row": "of something else"}\n')
    assert not holds_rows(path)
    path.unlink()
    journal = Journal(path, IDENTITY)
    assert not holds_rows(path)
    journal.add(make_row(0))
    assert holds_rows(path)


def test_a_line_that_was_cut_off_is_dropped(tmp_path, make_row):
    """After a crash in the middle of a line the rows before it are there, and the next row is whole."""
    journal = Journal(tmp_path / "journal.jsonl", IDENTITY)
    journal.add(make_row(0))
    journal.add(make_row(1))
    whole = journal.path.read_bytes()
    for cut in (1, 30, 200):
        journal.path.write_bytes(whole[:-cut])
        again = Journal(journal.path, IDENTITY)
        assert [row["task"] for row in again.rows] == [0]
        again.add(make_row(5))
        assert [row["task"] for row in Journal(journal.path, IDENTITY).rows] == [0, 5]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"row": {}}', "the row has no usable 'method'"),
        ('{"row": 3}', "the row has no usable 'method'"),
        ('{"method": "zero"}', "no name of a method with its settings"),
        ('{"method": 3, "settings": {}}', "no name of a method with its settings"),
        ("[1]", "not a line of a journal"),
        ("{", "not JSON"),
    ],
)
def test_damaged_lines_are_named(tmp_path, make_row, line, message):
    journal = Journal(tmp_path / "journal.jsonl", IDENTITY)
    journal.add(make_row(0))
    with journal.path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=f"line 3: {message}.*--overwrite"):
        Journal(journal.path, IDENTITY)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("shape", None),
        ("direction", 3),
        ("distances_px", "far"),
        ("success_any_time", [True]),
        ("improvement_px", float("nan")),
        ("final_distance_cm", "near"),
        ("decision_seconds", [0.1, None]),
        ("signs", None),
        ("cause", 3),
    ],
)
def test_rows_of_which_no_figures_can_be_made_are_named(tmp_path, make_row, name, value):
    """Now, and not in the middle of the report."""
    journal = Journal(tmp_path / "journal.jsonl", IDENTITY)
    journal.add(make_row(0))
    journal.add({**make_row(1), name: value})
    with pytest.raises(ValueError, match=f"line 3: the row has no usable '{name}' .*--overwrite"):
        Journal(journal.path, IDENTITY)
    row = make_row(2)
    del row["num_objects"]
    journal.path.write_text(journal.path.read_text().splitlines()[0] + "\n" + json.dumps({"row": row}) + "\n")
    with pytest.raises(ValueError, match=r"line 2: the row has no usable 'num_objects' \(None\)"):
        Journal(journal.path, IDENTITY)


def test_other_settings_are_refused_by_name(tmp_path, make_row):
    """A run with another horizon, or the learned model with other weights, is not mixed in."""
    journal = Journal(tmp_path / "journal.jsonl", IDENTITY)
    journal.add_method("learned", {"weights": "a"})
    journal.add(make_row())
    with pytest.raises(ValueError, match=r"settings.horizon: 15 there, 9 now.*--overwrite"):
        Journal(journal.path, {**IDENTITY, "settings": {"horizon": 9}})
    again = Journal(journal.path, IDENTITY)
    again.add_method("true", {})
    again.add_method("learned", {"weights": "a"})
    with pytest.raises(ValueError, match="learned: weights: a there, b now"):
        again.add_method("learned", {"weights": "b"})


def test_a_run_killed_in_its_first_episode_does_not_stand_in_the_way(tmp_path, make_row):
    """Its journal says with which settings it began, and holds no row."""
    path = tmp_path / "journal.jsonl"
    Journal(path, {"settings": 1}).add_method("learned", {"weights": "a"})
    corrected = Journal(path, IDENTITY)
    corrected.add_method("learned", {"weights": "b"})
    corrected.add_method("learned", {"weights": "c"})
    corrected.add(make_row(0))
    again = Journal(path, IDENTITY)
    assert again.methods == {"learned": {"weights": "c"}}
    assert len(again.rows) == 1


def test_other_files_are_refused(tmp_path):
    """Text that is no journal is named with its line."""
    path = tmp_path / "journal.jsonl"
    path.write_text("hello\n")
    with pytest.raises(ValueError, match="line 1: not JSON"):
        Journal(path, IDENTITY)
    path.write_text(json.dumps({"journal": 99}) + "\n")
    with pytest.raises(ValueError, match="no journal of version 1"):
        Journal(path, IDENTITY)
    path.write_text("[1]\n")
    with pytest.raises(ValueError, match="not a line of a journal"):
        Journal(path, IDENTITY)


def test_a_run_without_an_episode_leaves_no_journal(tmp_path):
    """Or the corrected command would be refused; one that holds an episode stays."""
    folder = tmp_path / "run"
    journal = Journal(folder / "journal.jsonl", {"settings": 1})
    journal.discard_if_empty()
    assert not folder.exists()
    journal = Journal(folder / "journal.jsonl", {"settings": 2})
    journal.add({"method": "learned", "shift": "none", "task": 0, "planner_seed": 0})
    journal.discard_if_empty()
    assert (folder / "journal.jsonl").exists()
