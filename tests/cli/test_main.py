"""The command line as a whole: help, version, spelling, errors in one line, exit codes."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import visual_foresight
from visual_foresight import cli


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_keeps_the_contract(verb, command):
    """Each verb has a one-line HELP, and `--help` explains it with exit code 0."""
    module = cli.verb_module(verb)
    assert module.HELP == module.HELP.strip()
    assert len(module.HELP.splitlines()) == 1
    answer = command(verb, "--help")
    assert answer.code == 0
    assert f"visual-foresight {verb}" in answer.out
    assert answer.err == ""


@pytest.mark.parametrize("verb", cli.VERBS)
def test_unknown_option_is_refused_in_one_line(verb, refused):
    """An option that no verb has ends with exit code 2 and one line that names it, or what is missing as well."""
    error = refused(verb, "--no_such_option=1")
    assert "--no_such_option" in error or "required" in error


def test_help_lists_every_verb(command):
    """`visual-foresight --help` names each verb with its one line."""
    answer = command("--help")
    assert answer.code == 0
    for verb in cli.VERBS:
        assert f"{verb} " in answer.out
        assert cli.verb_module(verb).HELP in answer.out


def test_version(command):
    """`--version` prints the version of the package."""
    answer = command("--version")
    assert (answer.code, answer.out) == (0, f"visual-foresight {visual_foresight.__version__}\n")


def test_unknown_verb_is_answered_with_the_nearest(refused):
    """A mistyped verb is answered with the one that was probably meant."""
    assert "did you mean 'train'?" in refused("trian")
    assert "did you mean 'import-checkpoint'?" in refused("import-checkpont")
    assert "the commands are demo" in refused("xyzzy")


def test_without_a_verb_the_help_is_shown(command):
    """Nothing to do is not success: the help goes to standard error."""
    answer = command()
    assert (answer.code, answer.out) == (2, "")
    assert "usage: visual-foresight" in answer.err and "commands:" in answer.err


def test_help_shows_defaults_that_are_some():
    """Only an option that takes a value, has a default and does not speak of it gets one printed."""
    parser = cli.Parser(prog="made-up")
    parser.add_argument("--no_report", dest="report", action="store_false", help="no report")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--output", required=True, help="folder")
    parser.add_argument("--format", help="of the data")
    parser.add_argument("--split", action="append", default=[], help="repeatable")
    parser.add_argument("--width", default=3, help="of the picture; the default is 3")
    parser.add_argument("--steps", type=int, default=12, help="to predict")
    shown = parser.format_help()
    assert shown.count("default:") == 1 and "to predict (default: 12)" in shown


@pytest.mark.parametrize("verb", cli.VERBS)
def test_no_help_shows_an_empty_default(verb):
    """No parser of the program, nor one nested in it, prints a default that is none."""
    for parser in cli._nested(cli.verb_parser(verb)):
        shown = parser.format_help()
        assert not any(f"(default: {value})" in shown for value in ("None", "True", "False", "[]", "", "==SUPPRESS=="))


@pytest.mark.parametrize("words", [["--num-steps=3", "--dry_run"], ["--num_steps", "3", "--dry-run"]])
def test_dashes_and_underscores_are_one(made_up_verb, words):
    """Options are understood with either spelling."""
    seen = []
    made_up_verb(lambda args: seen.append((args.num_steps, args.dry_run)))
    assert cli.main(["made-up", *words]) == 0
    assert cli.main(["made_up", *words]) == 0
    assert seen == [(3, True), (3, True)]


def test_abbreviated_options_are_not_guessed(made_up_verb, refused):
    """`--num` is not `--num_steps`: an abbreviation would change meaning when an option is added."""
    made_up_verb(lambda args: 0)
    assert "--num=3" in refused("made-up", "--num=3")


def test_misspelt_options_are_guessed(refused):
    assert "did you mean '--learning_rate'?" in refused("train", "--lerning_rate", "0.1")
    assert "did you mean '--candidates'?" in refused("plan", "--num_candidates=40")
    assert "did you mean '--picture'?" in refused("data", "inspect", "x", "--pictre", "a.png")
    assert "did you mean" not in refused("plan", "--xyz")


@pytest.mark.parametrize("kind", [ValueError, TypeError, FileNotFoundError, ImportError])
def test_errors_of_input_are_one_line(made_up_verb, refused, kind):
    """What the library raises for wrong input becomes one line with the whole message."""

    def fail(args):
        raise kind("first line,\n   second line")

    made_up_verb(fail)
    assert refused("made-up") == "visual-foresight made-up: error: first line, second line\n"


@pytest.mark.parametrize(
    "words, message",
    [
        ("plan --compare A B --tasks 3 --record", "runs nothing, so --tasks and --record would be ignored"),
        ("plan --tasks push-seen-v1 --split train", "--tasks push-seen-v1 has its own objects"),
        ("plan --method random zero --preset nothere", "random zero imagines nothing with a predictor, so --preset"),
        ("plan --simulator true --model_dir nothere", "with a predictor, so --model_dir would be ignored"),
        ("plan --planner_seeds 2 --baseline_seeds 1", "but 'learned' runs, so --baseline_seeds would be ignored"),
        ("train --follow_points 8", "without --follow_weight no points are followed, so --follow_points"),
        ("train --motion_dilation 9 --motion_threshold 0.2", "all pixels count alike, so --motion_dilation and"),
        ("train --shorten 0.5", "makes no leaps to shorten, so --shorten"),
        ("train --use_state=0 --state_weight 5", "predicts no states, so --state_weight"),
        ("data convert . x.npz --quality 50", "original lose anything, so --quality"),
        ("data convert . x.npz --episodes_per_file 5", "x.npz is one file, so --episodes_per_file"),
        ("train --bank push-novel-v1", "--select=psnr looks at no bank, so --bank"),
        ("demo --simulator true --preset nothere", "with a predictor, so --preset would be ignored"),
        ("evaluate --make_bank a.npz --model_dir push_fast --bank=b", "so --model_dir and --bank would be ignored"),
        ("evaluate --model_dir push_fast --bank push-seen-v1 --split novel", "so --split would be ignored"),
        ("evaluate --model_dir push_fast --bank push-seen-v1 --limit 3", "without --data_dir, so --limit"),
        ("evaluate --model_dir push_fast --data_dir . --top 3", "without --bank, so --top"),
        ("predict --format npz", "without --data_dir episodes are recorded, so --format"),
        ("predict --data_dir . --env VisualForesight/Push-v0", "nothing is recorded, so --env"),
        ("bench --only rollout --seeds 3", "with --compare only, so --seeds"),
        ("bench --point_seconds 3", "with --scale only, so --point_seconds"),
        ("bench --compare --only rollout", "--compare is another measurement, so --only"),
        ("bench --only rollout --training_batches 8", "measures no training, so --training_batches"),
    ],
)
def test_options_that_nothing_would_read_are_refused(refused, tmp_path, monkeypatch, words, message):
    """They had been ignored, and whoever gave them took the answer for another one."""
    monkeypatch.chdir(tmp_path)
    assert message in refused(*words.split())
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_line_with_the_way_on(made_up_verb, refused, monkeypatch):
    """It names the file, and how the run goes on where it can."""

    def fail(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/last")

    made_up_verb(fail)
    said = "runs/last cannot be written: No space left on device; make room there, "
    assert said + "or choose another path" in refused("made-up")
    monkeypatch.setitem(cli._WITH_ROOM, "made-up", "then go on")
    assert said + "then go on, or choose another path" in refused("made-up")


@pytest.mark.parametrize(
    ("name", "code", "told"), [("KeyboardInterrupt", 130, "interrupted"), ("Termination", 143, "terminated")]
)
def test_a_stop_inside_compiled_code_is_a_stop(made_up_verb, command, name, code, told):
    """It comes out as an error of the code's own, which only names what was raised in it."""

    def fail(_):
        raise RuntimeError(f"error_already_set: MISMATCH of exception types: ORIGINAL NotOk REPLACED BY {name}")

    made_up_verb(fail)
    answer = command("made-up")
    assert answer.code == code and answer.err == f"visual-foresight: {told}\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_output_that_cannot_be_printed_is_one_line():
    """Python alone would end with a traceback."""
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "visual_foresight", "--help"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "the output cannot be written: No space left on device" in done.stderr


class ResourceExhaustedError(Exception):
    """Named as TensorFlow's."""


@pytest.mark.parametrize(
    "error",
    [MemoryError(), ResourceExhaustedError("OOM when allocating"), RuntimeError("RESOURCE_EXHAUSTED: out of memory")],
)
def test_a_lack_of_memory_is_one_line(made_up_verb, refused, error):
    """Of the host or of an accelerator, with the way out."""

    def run(_):
        raise error

    made_up_verb(run)
    assert "out of memory: ask for less at once" in refused("made-up")


def test_a_defect_is_not_hidden(made_up_verb):
    """An error that is not the user's comes through with its traceback."""

    def fail(args):
        raise RuntimeError("a defect")

    made_up_verb(fail)
    with pytest.raises(RuntimeError, match="a defect"):
        cli.main(["made-up"])


def test_traceback_on_request(made_up_verb, monkeypatch):
    """VISUAL_FORESIGHT_TRACEBACK shows where a one-line error comes from."""

    def fail(args):
        raise ValueError("wrong")

    made_up_verb(fail)
    monkeypatch.setenv("VISUAL_FORESIGHT_TRACEBACK", "1")
    with pytest.raises(ValueError, match="wrong"):
        cli.main(["made-up"])


def test_interrupt_is_130_and_the_verb_s_own_code_is_kept(made_up_verb, command):
    """Control-C ends with 130; a verb may return a code of its own."""

    def interrupt(args):
        raise KeyboardInterrupt

    made_up_verb(interrupt)
    assert command("made-up").code == 130
    made_up_verb(lambda args: 7)
    assert command("made-up").code == 7


def test_a_termination_stops_a_verb_as_an_interrupt_does(made_up_verb, command, monkeypatch):
    """With 143; a second one ends the process, as one does that comes when no verb runs."""
    handlers = []

    def run(_):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        finally:
            handlers.append(signal.getsignal(signal.SIGTERM))

    made_up_verb(run)
    monkeypatch.setitem(cli._GOES_ON, "made-up", "more of it")
    answer = command("made-up")
    assert (answer.code, answer.err) == (143, "visual-foresight: terminated; more of it\n")
    assert [*handlers, signal.getsignal(signal.SIGTERM)] == [signal.SIG_DFL] * 2


@pytest.mark.parametrize(
    "words, message",
    [
        (["bench", "--only", "environment", "--output", "{folder}"], "is a folder, and a file is to be written"),
        (["bench", "--scale", "--charts", "{folder}/a.png"], "end the name in .svg"),
        (["bench", "--only", "environment", "--output", "{file}"], "is no result of bench"),
        (["bench", "--scale", "--charts", "{svg}"], "is no result of bench"),
        (["bench", "--training_batches", "0"], "--training_batches must be at least 1"),
        (["bench", "--seeds", "0"], "--seeds must be at least 1"),
        (["demo", "--output", "{file}"], "is a file, and a folder is needed there"),
        (["demo", "--stop_distance", "nan"], "--stop_distance must be finite"),
        (["demo", "--approach_weight", "-1"], "--approach_weight must be finite and not negative"),
        (["plan", "--terminal_weight", "inf"], "--terminal_weight must be positive"),
        (["evaluate", "--make_bank", "{file}/b.npz"], "is a file, and a folder is needed there"),
        (["evaluate", "--make_bank", "{bank}"], "exists already"),
        (["plan", "--tasks", "0"], "--tasks as a number says how many"),
        (["plan", "--tasks", "3.5"], "--tasks as a number says how many"),
        (["plan", "--tasks", "push-seen-v1", "--split", "novel"], "--tasks push-seen-v1 has its own objects"),
        (["predict", "--seed", "-1"], "--seed must not be negative"),
        (["predict", "--steps", "5000"], "--steps must be at most 500"),
        (
            ["evaluate", "--model_dir", "push_fast", "--bank", "{bank}"],
            "is no bank, or truncated or damaged; make it anew",
        ),
    ],
)
def test_what_could_not_be_written_is_refused_before_any_work(tmp_path, command, words, message):
    """In one line, and what is there stays."""
    places = {"folder": tmp_path} | {name: tmp_path / name for name in ("file", "bank.npz", "charts.svg")}
    places |= {"bank": places.pop("bank.npz"), "svg": places.pop("charts.svg")}
    for name in ("file", "bank", "svg"):
        places[name].write_text("kept")
    answer = command(*(word.format(**places) for word in words))
    assert answer.code == 2
    assert message in answer.err and answer.err.count("\n") == 1
    assert all(places[name].read_text() == "kept" for name in ("file", "bank", "svg"))
