"""Ctrl-C and SIGTERM wherever they arrive."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from visual_foresight import cli
from visual_foresight.cli.stopping import Stops, Termination, stopping

SIGNALS = [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]


@pytest.fixture(autouse=True)
def usual_handlers():
    """As in a terminal; a job in the background may have been told to ignore Ctrl-C, and then goes on ignoring it."""
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGTERM: signal.signal(signal.SIGTERM, signal.SIG_DFL),
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "code", "told"), SIGNALS)
def test_a_stop_that_a_callback_swallows_arrives_all_the_same(made_up_verb, command, number, code, told):
    """As in a callback of the garbage collector: what it raises is written and forgotten."""
    called = []

    def callback(phase, _):
        if phase == "start" and not called:
            called.append(phase)
            send(number)
            time.sleep(0.01)  # here the handler runs

    def work(_):
        gc.callbacks.append(callback)
        try:
            gc.collect()
        finally:
            gc.callbacks.remove(callback)
        assert called
        for _ in range(500):
            time.sleep(0.01)
        return 0

    made_up_verb(work)
    answer = command("made-up")
    assert answer.code == code and answer.err == f"visual-foresight: {told}\n"


@pytest.mark.parametrize(("number", "code", "told"), SIGNALS)
def test_a_stop_waits_for_the_import_it_arrives_in(made_up_verb, command, tmp_path, monkeypatch, number, code, told):
    """What is raised inside a module's C++ code ends the process."""
    again = f"for _ in range(3):\n    os.kill(os.getpid(), {int(number)})\n    time.sleep(0.1)\n"
    (tmp_path / "slow_module.py").write_text(f"import os, time\n{again}DONE = True\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    seen = []

    def work(_):
        import slow_module

        seen.append(slow_module.DONE)
        for _ in range(500):
            time.sleep(0.01)
        return 0

    made_up_verb(work)
    answer = command("made-up")
    del sys.modules["slow_module"]
    assert seen == [True]
    assert answer.code == code and answer.err == f"visual-foresight: {told}\n"


@pytest.mark.parametrize(("number", "code", "told"), SIGNALS)
def test_a_program_that_is_imported_itself_is_stopped(made_up_verb, capsys, tmp_path, monkeypatch, number, code, told):
    """What called this one may be a module that is being imported; only imports of its own are waited for."""
    (tmp_path / "caller.py").write_text("from visual_foresight import cli\nCODE = cli.main(['made-up'])\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    def work(_):
        send(number)
        time.sleep(1.0)
        return 0

    made_up_verb(work)
    import caller

    del sys.modules["caller"]
    assert caller.CODE == code and capsys.readouterr().err == f"visual-foresight: {told}\n"


def test_a_stop_that_still_waits_ends_with_the_verb():
    """Whoever called this program is not stopped a moment later."""
    with stopping() as stops:
        stops._wait_with(signal.SIGTERM)
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


@pytest.mark.parametrize("error", [SystemError("bad argument to internal function"), ValueError("no such shape")])
@pytest.mark.parametrize(("number", "code", "told"), SIGNALS)
def test_what_a_stop_breaks_is_a_stop(made_up_verb, command, number, code, told, error):
    """Compiled code that it arrives in ends with an error of its own."""

    def work(_):
        try:
            send(number)
            time.sleep(1.0)
        except KeyboardInterrupt:
            raise error from None

    made_up_verb(work)
    answer = command("made-up")
    further = f" ({error})" if isinstance(error, ValueError) else ""
    assert answer.code == code and answer.err == f"visual-foresight: {told}{further}\n"


@pytest.mark.parametrize("word", ["Termination", "KeyboardInterrupt"])
def test_a_name_of_an_exception_is_no_stop(made_up_verb, refused, word):
    def fail(_):
        raise ValueError(f"unknown preset {word!r}")

    made_up_verb(fail)
    assert f"unknown preset {word!r}" in refused("made-up")


def test_a_checkpoint_that_found_no_room_is_told_after_a_stop():
    stops = Stops()
    stops.last = signal.SIGINT
    assert stops.behind(OSError("full")) is None
    assert isinstance(stops.behind(RuntimeError("broken")), KeyboardInterrupt)
    assert Stops().behind(RuntimeError("broken")) is None
    assert isinstance(Stops().behind(RuntimeError("REPLACED BY Termination")), Termination)


def test_handlers_of_others_stay_and_ours_go():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), sys.unraisablehook
    mine = []
    signal.signal(signal.SIGTERM, lambda *_: mine.append(1))
    try:
        with stopping():
            send(signal.SIGTERM)
            time.sleep(0.01)
        assert mine == [1]
    finally:
        signal.signal(signal.SIGTERM, before[1])
    with stopping():
        assert signal.getsignal(signal.SIGTERM) is not before[1]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), sys.unraisablehook) == before
    worked = []
    thread = threading.Thread(target=lambda: worked.append(cli.main(["--version"])))
    thread.start()
    thread.join()
    assert worked == [0]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["plan"], "the same command goes on"),
        (["plan", "--overwrite"], "the same command without --overwrite goes on"),
        (["train", "--overwrite"], "the same command with --resume in place of --overwrite goes on"),
        (["collect"], "the same command with --resume goes on"),
        (["doctor"], ""),
    ],
)
def test_the_way_on_does_not_begin_anew(words, told):
    assert cli._advice(cli._GOES_ON, words).endswith(told)
    assert "--overwrite" in words or "--overwrite" not in cli._advice(cli._WITH_ROOM, words)


def test_a_closed_output_is_no_error():
    command = [sys.executable, "-m", "visual_foresight", "--version"]
    done = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *command], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0 and done.stderr == ""
