"""`visual-foresight data inspect|validate|convert`: what they print, write and exit with."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from visual_foresight import video_files
from visual_foresight.formats import LeftOutWarning, read_episodes, write_episodes


@pytest.fixture
def damaged_push(tmp_path, make_episode, damage):
    """A push file of three records, the first of which is damaged."""
    whole = tmp_path / "whole.tfrecord"
    write_episodes(whole, [make_episode(seed) for seed in range(3)])
    return damage(whole, tmp_path / "damaged.tfrecord", flip=100)


def test_inspect_prints_what_there_is(command, npz_folder, tmp_path):
    """Format, counts, sizes, statistics; the contact sheet is written."""
    answer = command("data", "inspect", npz_folder, "--picture", tmp_path / "sheet.png")
    assert answer.code == 0
    for line in ("format:      npz", "files:       3", "episodes:    7", "frames:      48 (6 to 8 an episode)"):
        assert line in answer.out
    assert "image size:  8x8" in answer.out and "action mean:" in answer.out
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")


def test_inspect_writes_pictures_only(command, npz_folder, tmp_path):
    """Another kind of file is not replaced by a picture."""
    report = tmp_path / "report.html"
    report.write_text("a report")
    answer = command("data", "inspect", npz_folder, "--picture", report)
    assert answer.code == 2 and "report.html must name a PNG file" in answer.err
    assert report.read_text() == "a report"


def test_inspect_replaces_its_own_picture_only(command, refused, npz_folder, tmp_path):
    """Of two runs the second may replace what the first wrote; a photograph is refused before anything is read."""
    mine = tmp_path / "photograph.png"
    Image.new("RGB", (4, 4)).save(mine)
    before = mine.read_bytes()
    message = refused("data", "inspect", tmp_path / "nothing", "--picture", mine)
    assert "photograph.png exists and is no result of data inspect: choose another name" in message
    assert mine.read_bytes() == before
    for _ in range(2):
        assert command("data", "inspect", npz_folder, "--picture", tmp_path / "sheet.png").code == 0


def test_inspect_as_json_holds_the_statistics(command, npz_folder):
    """--json is one JSON document with the same facts."""
    report = json.loads(command("data", "inspect", npz_folder, "--json", "--max_episodes", 2).out)
    assert report["num_episodes"] == 2 and report["action_sizes"] == {"2": 2}
    episodes = list(read_episodes(npz_folder, preprocess="none"))[:2]
    expected = np.concatenate([episode.actions for episode in episodes]).mean(axis=0)
    np.testing.assert_allclose(report["statistics"]["action_mean"], expected, rtol=1e-5)


def test_inspect_shows_sizes_that_differ(command, tmp_path, make_episode):
    """Mixed data are described, without a mean that says nothing."""
    write_episodes(tmp_path / "a.npz", [make_episode(), make_episode(action_size=3)])
    answer = command("data", "inspect", tmp_path / "a.npz")
    assert answer.code == 0
    assert "action size: 2 (1 episodes), 3 (1 episodes)" in answer.out and "mean" not in answer.out


def test_inspect_says_what_is_constant(command, tmp_path, make_episode):
    """A dimension that never changes is named so, though a predictor's statistics store 1 for it."""
    episode = make_episode()
    actions = np.array(episode.actions)
    actions[:, 1] = 0.3
    write_episodes(tmp_path / "a.npz", [replace(episode, actions=actions)])
    assert re.search(r"action deviation: [\d.e-]+ constant\n", command("data", "inspect", tmp_path / "a.npz").out)
    report = json.loads(command("data", "inspect", tmp_path / "a.npz", "--json").out)
    assert report["constant"]["action"] == [1] and report["statistics"]["action_deviation"][1] == 1


def test_inspect_of_damaged_data(command, refused, damaged_push):
    """A damaged record is refused with the way out, and counted with --skip_bad."""
    assert "damaged.tfrecord, record 0" in refused("data", "inspect", damaged_push, "--format", "push")
    answer = command("data", "inspect", damaged_push, "--format", "push", "--skip_bad")
    assert answer.code == 0 and "skipped:     1 damaged records" in answer.out


def test_validate_passes_good_data(command, npz_folder):
    """Exit code 0 and the number of episodes."""
    answer = command("data", "validate", npz_folder)
    assert (answer.code, answer.out) == (0, "7 episodes are in order\n")


def test_validate_names_every_fault(command, damaged_push):
    """Exit code 1; file, record and reason of each fault; JSON alike; --skip-bad counts and goes on."""
    answer = command("data", "validate", damaged_push, "--format=push")
    assert answer.code == 1
    assert f"{damaged_push}, record 0: its " in answer.out and "do not match their checksum" in answer.out
    assert "2 episodes are in order, 1 are not" in answer.out
    report = json.loads(command("data", "validate", damaged_push, "--format=push", "--json").out)
    assert report["good"] == 2 and report["faults"][0]["record"] == 0
    answer = command("data", "validate", damaged_push, "--format=push", "--skip-bad")
    assert answer.code == 0 and "1 are not (skipped)" in answer.out


def test_validate_finds_short_and_differing_episodes(command, tmp_path, make_episode):
    """Too short for the asked length, and other sizes than the first episode, are faults with their place."""
    episodes = [make_episode(frames=8), make_episode(frames=4), make_episode(frames=8, size=(8, 9))]
    write_episodes(tmp_path / "a.npz", episodes)
    answer = command("data", "validate", tmp_path / "a.npz", "--sequence_length", 6)
    assert answer.code == 1
    assert "record 1: has 4 frames, fewer than the sequence length 6" in answer.out
    assert "record 2: has image size (8, 9), the first episode has (8, 8)" in answer.out


def test_validate_finds_what_training_would_refuse(command, tmp_path, make_episode):
    episode = make_episode(frames=8)
    huge = replace(episode, actions=np.full_like(episode.actions, 1e38))
    write_episodes(tmp_path / "a.npz", [episode, huge])
    answer = command("data", "validate", tmp_path / "a.npz")
    assert answer.code == 1
    assert "record 1: its actions contain 1e+38, beyond 1e+12" in answer.out


def test_validate_advises_only_what_helps(command, tmp_path, make_episode, damaged_push):
    """convert --skip_bad leaves out what cannot be read and keeps short episodes: it is not advised for those."""
    write_episodes(tmp_path / "a.npz", [make_episode(frames=8), make_episode(frames=4)])
    short = command("data", "validate", tmp_path / "a.npz", "--sequence_length", 6).out
    assert "convert would keep them" in short and "--skip_bad" not in short
    damaged = command("data", "validate", damaged_push, "--format=push").out
    assert "convert --skip_bad leaves out the 1 that cannot be read\n" in damaged
    both = command("data", "validate", damaged_push, "--format=push", "--sequence_length", 99).out
    assert "leaves out the 1 that cannot be read and keeps the 2 that do not fit" in both


def test_validate_limits_what_it_prints_but_counts_all(command, tmp_path, make_episode):
    """--max_faults bounds the lines."""
    write_episodes(tmp_path / "a.npz", [make_episode(frames=3) for _ in range(5)])
    answer = command("data", "validate", tmp_path / "a.npz", "--sequence_length", 6, "--max_faults", 2)
    assert answer.out.count("record") == 2 and "0 episodes are in order, 5 are not" in answer.out


@pytest.mark.filterwarnings("always::visual_foresight.formats.LeftOutWarning")
@pytest.mark.parametrize("action", ["inspect", "validate"])
def test_what_is_left_out_is_said_in_one_line(command, npz_folder, action):
    """A folder that mixes formats is read as one of them."""
    (npz_folder / "push_1").mkdir()
    Image.new("RGB", (8, 8)).save(npz_folder / "push_1" / "0.png")
    answer = command("data", action, npz_folder)
    assert answer.code == 0
    assert answer.err == (
        f"visual-foresight data: warning: {npz_folder} is read as npz, without push_1, which is of format folder: put "
        "them into a folder of their own, or name the format to read\n"
    )
    with pytest.warns(LeftOutWarning, match="push_1"):
        assert len(list(read_episodes(npz_folder))) == 7
    assert command("data", action, npz_folder, "--format=npz").err == ""


@pytest.mark.filterwarnings("always::visual_foresight.formats.LeftOutWarning")
def test_it_is_said_once_by_a_command_that_looks_at_the_folder_twice(command, npz_folder, tmp_path):
    """`train` looks before Keras is loaded, and reads later."""
    (npz_folder / "push_1").mkdir()
    Image.new("RGB", (8, 8)).save(npz_folder / "push_1" / "0.png")
    words = ("--split_by=episode", "--sequence_length=99", "--output_dir", tmp_path / "run")
    answer = command("train", "--data_dir", npz_folder, *words)
    assert answer.code == 2 and "no episode of at least sequence_length=99" in answer.err
    assert answer.err.count("is read as npz, without push_1") == 1


@pytest.mark.parametrize("name", ["out.npz", "out.tfrecord"])
def test_convert_keeps_episodes_exactly(command, npz_folder, tmp_path, same_episode, name):
    """npz to push or npz keeps everything, and notes where it came from."""
    answer = command("data", "convert", npz_folder, tmp_path / name)
    assert answer.code == 0 and "wrote 7 episodes (48 frames) from npz to 1" in answer.out
    for actual, expected in zip(
        read_episodes(tmp_path / name, preprocess="none"), read_episodes(npz_folder, preprocess="none"), strict=True
    ):
        assert actual.metadata["converted_from"]["preprocess"] == "none"
        np.testing.assert_array_equal(actual.frames, expected.frames)
        np.testing.assert_array_equal(actual.actions, expected.actions)


def test_convert_resizes_into_a_folder_of_shards(command, golden_push, tmp_path):
    """The golden records become npz of 64 x 64, at most so many episodes to a file; frames are the golden ones."""
    folder = tmp_path / "small"
    arguments = (
        "--to=npz",
        "--image_size=64",
        "--preprocess=seed",
        "--episodes_per_file=3",
        "--max_frames=4",
        "--json",
    )
    report = json.loads(command("data", "convert", golden_push, folder, *arguments).out)
    assert sorted(file.name for file in folder.iterdir()) == ["episodes-00000.npz", "episodes-00001.npz"]
    assert report["num_episodes"] == 4 and report["num_frames"] == 16
    assert [path.name for path in tmp_path.iterdir()] == ["small"]
    for actual, expected in zip(read_episodes(folder), read_episodes(golden_push, max_frames=4), strict=True):
        np.testing.assert_array_equal(actual.frames, expected.frames)


def test_convert_of_damaged_data_writes_all_or_nothing(command, refused, damaged_push, tmp_path):
    """Without --skip_bad nothing appears; with it the good records do, and the skipped one is listed."""
    assert "record 0" in refused("data", "convert", damaged_push, tmp_path / "out", "--to=npz", "--format=push")
    assert "record 0" in refused("data", "convert", damaged_push, tmp_path / "out.npz", "--format=push")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged.tfrecord", "whole.tfrecord"]
    answer = command("data", "convert", damaged_push, tmp_path / "out.npz", "--format=push", "--skip_bad")
    assert answer.code == 0 and "wrote 2 episodes" in answer.out and "skipped 1 damaged records:" in answer.out


def test_convert_onto_a_full_disk_names_the_file_that_was_asked_for(refused, npz_folder, tmp_path, no_room):
    """Not the hidden one beside it; nothing is left."""
    with no_room(500):
        message = refused("data", "convert", npz_folder, tmp_path / "out", "--to=npz")
    assert f"{tmp_path}/out/episodes-00000.npz cannot be written: File too large; make room there, or" in message
    assert not list(tmp_path.glob("*out*"))


def test_convert_does_not_replace_unasked(command, refused, npz_folder, tmp_path):
    """An existing destination stays, unless --overwrite."""
    destination = tmp_path / "out.npz"
    destination.write_bytes(b"mine")
    assert "exists: choose another name or pass --overwrite" in refused("data", "convert", npz_folder, destination)
    assert destination.read_bytes() == b"mine"
    assert command("data", "convert", npz_folder, destination, "--overwrite").code == 0
    assert len(list(read_episodes(destination))) == 7
    message = refused("data", "convert", npz_folder, npz_folder, "--to=npz", "--overwrite")
    assert "holds the source" in message


def test_convert_writes_neither_over_its_source_nor_into_it(refused, npz_folder):
    """Whatever the flags: the episodes would be gone, or be read twice the next time."""
    source = sorted(npz_folder.iterdir())[0]
    before = source.read_bytes()
    (npz_folder / "link.npz").symlink_to(source)
    for words in ((), ("--overwrite",)):
        for name in (source.name, "link.npz"):
            assert "is the source itself" in refused("data", "convert", source, npz_folder / name, *words)
        for name in ("new.npz", "below", "below/new.npz"):
            assert "lies in the source" in refused("data", "convert", npz_folder, npz_folder / name, "--to=npz", *words)
    assert source.read_bytes() == before and not (npz_folder / "new.npz").exists()


@pytest.mark.parametrize(("name", "to"), [("y.npz", "push"), ("y.tfrecord", "npz"), ("y.tfrecord-00000", "npz")])
def test_convert_refuses_the_name_of_the_other_format(refused, npz_folder, tmp_path, name, to):
    """It would make a folder with the name of a file."""
    message = refused("data", "convert", npz_folder, tmp_path / name, f"--to={to}")
    assert f"{name} is the name of a" in message and f"--to={to} writes" in message
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["a.npz", "a.tfrecord", "a"])
def test_convert_to_a_place_where_nothing_can_be_written_says_so(refused, npz_folder, tmp_path, monkeypatch, name):
    """Of the folder that was asked for, not of a temporary file; before anything is read."""

    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(video_files.tempfile, "TemporaryFile", refuse)
    message = refused("data", "convert", npz_folder, tmp_path / "out" / name, *(["--to=npz"] if name == "a" else []))
    assert f"nothing can be written to {tmp_path} (Permission denied): choose another output" in message


def test_convert_removes_only_what_a_conversion_wrote(command, refused, npz_folder, tmp_path):
    """A folder with anything else in it stays as it is, even with --overwrite; one of a conversion is replaced."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("precious")
    message = refused("data", "convert", npz_folder, mine, "--to=npz", "--overwrite")
    assert "holds what no conversion wrote (thesis.txt)" in message
    assert (mine / "thesis.txt").read_text() == "precious"
    script = tmp_path / "own.py"
    script.write_text("precious")
    assert "own.py is a file" in refused("data", "convert", npz_folder, script, "--to=npz", "--overwrite")
    assert script.read_text() == "precious"
    made = tmp_path / "made"
    for size in (2, 4):
        words = ("--to=npz", "--overwrite", f"--episodes_per_file={size}")
        assert command("data", "convert", npz_folder, made, *words).code == 0
        assert len(list(made.iterdir())) == -(-7 // size) and len(list(read_episodes(made))) == 7
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("convert", "{data}", "{new}.npz", "--preprocess=seed", "--image_size=99999x64"), "at most 4096 pixels"),
        (("validate", "{data}", "--max_faults=-1"), "--max_faults must not be negative"),
        (("inspect", "nothing"), "nothing does not exist"),
        (("validate", "nothing"), "nothing does not exist"),
        (("convert", "{data}", "{new}"), "name the format to write with --to=push or --to=npz"),
        (("convert", "{data}", "{new}.npz", "--image_size=64"), "needs --preprocess=seed"),
        (("convert", "{data}", "{new}.npz", "--preprocess=seed"), "--preprocess=seed needs --image_size"),
        (("convert", "{data}", "{new}.npz", "--image_size=big"), "expected SIDE or HEIGHTxWIDTH"),
        (("convert", "{data}", "{new}.npz", "--encoding=gif"), "stores frames as one of deflate, raw"),
        (("validate", "{data}", "--sequence_length=0"), "sequence_length must be at least 1 frame, got 0"),
        (("inspect", "{data}", "--format=pusj"), "did you mean 'push'?"),
        (("inspect", "{data}", "--camera=left"), "has no setting camera"),
        (("inspect",), "the following arguments are required: path"),
        ((), "required"),
    ],
)
def test_wrong_use_is_refused_in_one_line(refused, npz_folder, tmp_path, words, message):
    """Exit code 2, one line, the reason."""
    places = {"data": npz_folder, "new": tmp_path / "new"}
    assert message in refused("data", *(word.format(**places) for word in words))
    assert not (tmp_path / "new").exists() and not (tmp_path / "new.npz").exists()
