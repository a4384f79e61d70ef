"""What every test may use."""

import argparse
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from visual_foresight import cli


@dataclass(frozen=True)
class Answer:
    """What a command answered: its exit code and what it wrote."""

    code: int
    out: str
    err: str


@pytest.fixture
def command(capsys) -> Callable[..., Answer]:
    """Run a command in this process: `command("doctor", "--json")`."""

    def run(*words: object) -> Answer:
        code = cli.main([str(word) for word in words])
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return run


@pytest.fixture
def refused(command) -> Callable[..., str]:
    """Run a command that must refuse its input: exit code 2 and one line on standard error, which is returned."""

    def run(*words: object) -> str:
        answer = command(*words)
        assert answer.code == 2, answer
        assert answer.out == ""
        assert len(answer.err.splitlines()) == 1, answer.err
        assert answer.err.startswith("visual-foresight")
        return answer.err

    return run


@pytest.fixture
def no_room() -> Callable[[int], AbstractContextManager[None]]:
    """Refuse every file that grows beyond so many bytes: `with no_room(100):`. Needs no full disk and no rights."""

    @contextmanager
    def limited(num_bytes: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


@pytest.fixture(scope="session")
def tiny_predictor(tmp_path_factory) -> Path:
    """The folder of a saved predictor that has learned nothing and costs little."""
    import visual_foresight as vf

    config = vf.PredictorConfig(backbone="fast", action_size=2, state_size=2, num_masks=2, width=0.25)
    folder = tmp_path_factory.mktemp("predictors") / "tiny"
    vf.VideoPredictor(config).save(folder)
    return folder


@pytest.fixture
def made_up_verb(monkeypatch):
    """A verb that does what the test says; returns a function that sets it."""

    def install(run):
        def add_arguments(parser: argparse.ArgumentParser) -> None:
            parser.add_argument("--num_steps", type=int, default=1)
            parser.add_argument("--dry-run", action="store_true")

        module = SimpleNamespace(HELP="made up for a test", add_arguments=add_arguments, run=run)
        monkeypatch.setattr(cli, "VERBS", (*cli.VERBS, "made-up"))
        monkeypatch.setitem(sys.modules, "visual_foresight.cli.made_up", module)

    return install
