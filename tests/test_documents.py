"""The documents tell the truth: their code runs, their commands parse, their links lead somewhere."""

import re
import shlex
from pathlib import Path

import pytest

from visual_foresight import cli

ROOT = Path(__file__).resolve().parent.parent
CARDS = (ROOT / "visual_foresight" / "presets").glob("*/README.md")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *CARDS])
FENCE = re.compile(r"(<!-- run -->\n)?^```(\w*)\n(.*?)^```", re.M | re.S)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(path: Path, language: str, *, marked: bool = False) -> list[str]:
    """The fenced blocks of one language, in order; only those under `<!-- run -->` when `marked`."""
    found = FENCE.findall(path.read_text())
    return [text for mark, word, text in found if word == language and (mark or not marked)]


def command_lines(path: Path) -> list[str]:
    """Every shell line of a document, continued lines joined."""
    text = "\n".join(blocks(path, "bash"))
    return [line.strip() for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def all_command_lines(program: str) -> list[tuple[str, str]]:
    lines = [(name_of(path), line) for path in DOCUMENTS for line in command_lines(path)]
    return [(name, line) for name, line in lines if shlex.split(line, comments=True)[:1] == [program]]


@pytest.mark.parametrize(("document", "line"), all_command_lines("visual-foresight"))
def test_commands_parse(document, line):
    """The command line accepts every command that a document shows."""
    words = shlex.split(line, comments=True)[1:]
    assert cli.parse(words).verb == words[0]


@pytest.mark.parametrize(("document", "line"), all_command_lines("make"))
def test_make_targets_exist(document, line):
    """Every target that a document names is in the Makefile."""
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
    assert set(shlex.split(line, comments=True)[1:]) <= set(targets)


@pytest.mark.parametrize("document", [name_of(path) for path in DOCUMENTS if blocks(path, "python", marked=True)])
def test_code_runs(document, tmp_path, monkeypatch, capsys):
    """The marked Python blocks of a document run from top to bottom, each going on where the last one ended."""
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "document"}
    for number, block in enumerate(blocks(ROOT / document, "python", marked=True), start=1):
        exec(compile(block, f"{document}, block {number}", "exec"), names)
    for environment in ("env", "imagined", "many"):
        if environment in names:
            names[environment].close()
    shown = capsys.readouterr().out
    for expected in re.findall(r"^print\(.*\)\s*# (\(.*?\))", (ROOT / document).read_text(), re.M):
        assert expected in shown


@pytest.mark.parametrize("document", [name_of(path) for path in DOCUMENTS])
def test_links_lead_somewhere(document):
    """Every relative link and picture of a document exists."""
    path = ROOT / document
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if not target.startswith(("http://", "https://", "#")):
            assert (path.parent / target.split("#")[0]).exists(), target


def test_documents_have_commands_and_code():
    """The patterns above still find what they are for."""
    assert len(all_command_lines("visual-foresight")) > 5
    assert all_command_lines("make")
    assert len(blocks(ROOT / "README.md", "python", marked=True)) >= 4
