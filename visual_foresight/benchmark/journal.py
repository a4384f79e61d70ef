"""A run's journal: one line for each finished episode, so that a stopped run goes on where it was."""

import json
import os
from pathlib import Path
from typing import Any, NoReturn

from visual_foresight.benchmark.rows import row_key, unusable_row
from visual_foresight.output_files import append_whole

JOURNAL_VERSION = 1


def holds_rows(path: Path) -> bool:
    """Whether a file is there that begins as a journal does and has a line for an episode."""
    if not path.is_file():
        return False
    with path.open("rb") as lines:
        return next(lines, b"").startswith(b'{"journal"') and any(line.startswith(b'{"row"') for line in lines)


class Journal:
    """Episodes that are done, in a file of JSON lines.

    The first line says what the episodes have in common (`identity`); a run of anything else is refused. Each further
    line is a method with its own settings, or a row. A line is one write to the end of the file; one that was cut off
    by a crash is dropped.

    Args:
        path: of the file; made if absent.
        identity: JSON-plain; what all rows share.

    Raises:
        ValueError: the file holds episodes of other settings, or is no journal.
    """

    def __init__(self, path: str | os.PathLike, identity: dict[str, Any]) -> None:
        self.path = Path(path)
        self.methods: dict[str, dict[str, Any]] = {}
        self._rows: dict[tuple, dict[str, Any]] = {}
        identity = json.loads(json.dumps(identity))
        lines = self._read()
        if lines and lines[0].get("journal") == JOURNAL_VERSION and lines[0].get("identity") != identity:
            if not any("row" in line for line in lines):  # killed in its first episode: nothing is lost
                self.path.unlink()
                lines = []
        if not lines:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._append({"journal": JOURNAL_VERSION, "identity": identity})
            return
        self._check(lines[0], identity)
        for number, line in enumerate(lines[1:], start=2):
            if "row" in line:
                unusable = unusable_row(line["row"])
                if unusable is not None:
                    self._damaged(number, f"the row has no usable {unusable}")
                self._rows[row_key(line["row"])] = line["row"]
            elif "method" in line:
                if not isinstance(line["method"], str) or not isinstance(line.get("settings"), dict):
                    self._damaged(number, "no name of a method with its settings")
                self.methods[line["method"]] = line["settings"]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """All rows, ordered by method, shift, task and planner seed, so that the order of finishing does not show."""
        return [self._rows[key] for key in sorted(self._rows)]

    def __contains__(self, key: tuple) -> bool:
        """Whether the episode of that key is done."""
        return key in self._rows

    def add_method(self, method: str, settings: dict[str, Any]) -> None:
        """Say what a method was run with.

        Raises:
            ValueError: its rows in the file were run with other settings.
        """
        settings = json.loads(json.dumps(settings))
        known = self.methods.get(method) if self._rows else None
        if known is None:
            self._append({"method": method, "settings": settings})
            self.methods[method] = settings
        elif known != settings:
            self._refuse(_differences(known, settings, f"{method}: "))

    def add(self, row: dict[str, Any]) -> None:
        """Write a finished episode."""
        row = json.loads(json.dumps(row))
        self._append({"row": row})
        self._rows[row_key(row)] = row

    def discard_if_empty(self) -> None:
        """Remove the file, and its folder if nothing else is in it, where no episode was finished."""
        if self._rows:
            return
        self.path.unlink(missing_ok=True)
        if self.path.parent.is_dir() and not any(self.path.parent.iterdir()):
            self.path.parent.rmdir()

    def _append(self, line: dict[str, Any]) -> None:
        append_whole(self.path, (json.dumps(line) + "\n").encode())

    def _read(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        data = self.path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):  # the last line was cut off: what follows it must begin on a line of its own
            os.truncate(self.path, whole)
        lines = []
        for number, text in enumerate(data[:whole].splitlines(), start=1):
            try:
                line = json.loads(text)
            except ValueError as error:
                self._damaged(number, f"not JSON ({error})", error)
            if not isinstance(line, dict):
                self._damaged(number, "not a line of a journal")
            lines.append(line)
        return lines

    def _damaged(self, number: int, what: str, error: Exception | None = None) -> NoReturn:
        raise ValueError(f"{self.path}, line {number}: {what}; begin anew with --overwrite") from error

    def _check(self, header: dict[str, Any], identity: dict[str, Any]) -> None:
        if header.get("journal") != JOURNAL_VERSION or not isinstance(header.get("identity"), dict):
            raise ValueError(f"{self.path} is no journal of version {JOURNAL_VERSION}; begin anew with --overwrite")
        if header["identity"] != identity:
            self._refuse(_differences(header["identity"], identity))

    def _refuse(self, differences: list[str]) -> None:
        raise ValueError(
            f"{self.path} belongs to a run with other settings ({'; '.join(differences)}); rows are never mixed: "
            "choose another --output, or begin anew with --overwrite"
        )


def _differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """Where two nested dictionaries differ: "settings.horizon: 10 there, 15 now"."""
    found: list[str] = []
    for name in sorted(old.keys() | new.keys()):
        one, other = old.get(name), new.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            found += _differences(one, other, f"{prefix}{name}.")
        elif one != other:
            found.append(f"{prefix}{name}: {one} there, {other} now")
    return found
