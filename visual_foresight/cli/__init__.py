"""The command line: `visual-foresight <verb> [options]`.

Each verb is a module of this package with `HELP` (one line), `add_arguments(parser)` (cheap, imports nothing heavy) and
`run(args) -> int`. Only the module of the chosen verb is imported, so a mistyped option is answered at once.
"""

import argparse
import difflib
import errno
import importlib
import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NoReturn

from visual_foresight.cli.stopping import WORDED, Stops, Termination, stopping
from visual_foresight.cli.unread import given_options
from visual_foresight.wording import did_you_mean

PROGRAM = "visual-foresight"
VERBS = (
    "demo",
    "collect",
    "data",
    "train",
    "predict",
    "evaluate",
    "plan",
    "bench",
    "import-checkpoint",
    "doctor",
)
DESCRIPTION = "Learn what the camera will see next, then choose a robot's actions with that prediction."
QUIET_SECONDS = 0.5
"""Before a progress bar is drawn: what is refused at once is refused in one line, with no empty bar above it."""
_GOES_ON = {
    "collect": "the same command with --resume goes on",
    "train": "a checkpoint was written if training had begun; the same command with --resume goes on",
    "plan": "the same command goes on",
}
_WITH_ROOM = {
    "collect": "then go on with --resume",
    "train": "then go on with --resume from the last checkpoint",
    "plan": "then the same command goes on",
}
EXIT_OK, EXIT_WRONG_INPUT, EXIT_INTERRUPTED, EXIT_TERMINATED = 0, 2, 130, 143


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the default of an option that takes a value and has one, where its help does not speak of it already."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help or ""
        if action.nargs == 0 or action.required or action.default in (None, "", [], ()) or "default" in text.lower():
            return action.help
        return super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """An argparse parser that answers a mistake in one line and never guesses an abbreviated option."""

    def __init__(self, *args, **kwargs) -> None:
        """Make a parser; the arguments are argparse's own."""
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("formatter_class", HelpFormatter)
        super().__init__(*args, **kwargs)
        # No option of ours begins with a digit, so "-1,0.5" and "-1e3" are values; argparse knows "-1" and "-0.5" only.
        self._negative_number_matcher = re.compile(r"-\.?\d")

    def error(self, message: str) -> NoReturn:
        """Write one line to standard error and exit with code 2."""
        unknown = re.match(r"unrecognized arguments: (--[^\s=]+)", message)
        if unknown:
            message += did_you_mean(unknown[1], _option_strings(self))
        self.exit(EXIT_WRONG_INPUT, f"{self.prog}: error: {_one_line(message)} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code.

    Args:
        argv: the words after the program's name; those of the process when None.

    Returns:
        0 when the verb did its work, 2 for wrong input (one line on standard error), 130 when interrupted, 143 when
        terminated, else what the verb returned.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        with stopping() as stops:
            code = _dispatch(words, stops)
        if sys.stdout is not None:  # here a full disk under it is one line; at the end of the process it is a traceback
            sys.stdout.flush()
        return code
    except SystemExit as stop:  # argparse leaves this way after --help and after a mistake
        return stop.code if isinstance(stop.code, int) else EXIT_OK if stop.code is None else EXIT_WRONG_INPUT
    except KeyboardInterrupt as stop:
        goes_on = _advice(_GOES_ON, words)
        told = "terminated" if isinstance(stop, Termination) else "interrupted"
        if isinstance(stop.__cause__, WORDED):  # of saving what was done, perhaps
            told += f" ({_one_line(str(stop.__cause__))})"
        print(f"{PROGRAM}: {told}" + (f"; {goes_on}" if goes_on else ""), file=sys.stderr)
        return EXIT_TERMINATED if isinstance(stop, Termination) else EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader went away, as in `visual-foresight --help | head -1`
        _forget_output()
        return EXIT_OK
    except OSError as error:  # of printing: those of a verb were answered
        _forget_output()
        return _fail(PROGRAM, _message(error, ""))


def _advice(advices: Mapping[str, str], words: Sequence[str]) -> str:
    """How a verb goes on; `--overwrite`, given again, would begin anew."""
    advice = advices.get(words[0], "") if words else ""
    if not any(word.partition("=")[0] == "--overwrite" for word in words):
        return advice
    return advice.replace("with --resume", "with --resume in place of --overwrite").replace(
        "same command goes", "same command without --overwrite goes"
    )


def _forget_output() -> None:
    """Let what cannot be printed any more go nowhere, or the end of the process would try once more."""
    if sys.stdout is None:  # closed before the program began
        return
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def verb_module(verb: str) -> ModuleType:
    """Import the module of a verb; its heavy parts load only when it runs."""
    return importlib.import_module(f"{__name__}.{verb.replace('-', '_')}")


def verb_parser(verb: str) -> Parser:
    """Return the parser of one verb."""
    module = verb_module(verb)
    parser = Parser(prog=f"{PROGRAM} {verb}", description=module.HELP)
    module.add_arguments(parser)
    return parser


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Parse a verb and its options without running anything.

    Args:
        words: the verb, then its options; `--num-iterations` is understood as `--num_iterations` and the reverse.

    Returns:
        The options, with the verb under `verb` and the names of those that were given under `given`.
    """
    verb, options = words[0], list(words[1:])
    parser = verb_parser(verb)
    spelled = [_spell(option, _option_strings(parser)) for option in options]
    args = parser.parse_args(spelled)
    args.verb, args.given = verb, given_options(parser, spelled)
    return args


def _dispatch(words: list[str], stops: Stops) -> int:
    if not words:
        print(_help(), file=sys.stderr)
        return EXIT_WRONG_INPUT
    if words[0] in ("-h", "--help", "help"):
        print(_help())
        return EXIT_OK
    if words[0] == "--version":
        from visual_foresight import __version__

        print(f"{PROGRAM} {__version__}")
        return EXIT_OK
    verb = words[0].replace("_", "-")
    if verb not in VERBS:
        return _fail(PROGRAM, _unknown_verb(words[0]))
    args = parse([verb, *words[1:]])
    try:
        with _warnings_in_one_line(f"{PROGRAM} {verb}"):
            return int(verb_module(verb).run(args) or EXIT_OK)
    except BrokenPipeError:
        raise
    except Exception as error:
        if os.environ.get("VISUAL_FORESIGHT_TRACEBACK"):
            raise
        stop = stops.behind(error)
        if stop is not None:
            raise stop from error
        if isinstance(error, ValueError | TypeError | OSError | ImportError):
            return _fail(f"{PROGRAM} {verb}", _message(error, _advice(_WITH_ROOM, words)))
        if not _is_out_of_memory(error):
            raise
        advice = "ask for less at once (a smaller batch, fewer candidates, smaller images)"
        return _fail(f"{PROGRAM} {verb}", f"out of memory: {advice}")


@contextmanager
def _warnings_in_one_line(program: str) -> Iterator[None]:
    """Show the package's own warnings as errors are shown, without the place in the source that gave them, and once."""
    usual, shown = warnings.showwarning, set()

    def show(message: Warning | str, category: type[Warning], *place: Any, **further: Any) -> None:
        if category.__module__.startswith("visual_foresight."):
            line = f"{program}: warning: {_one_line(str(message))}"
            if line not in shown:  # a folder is looked at before Keras is loaded, and once more when it is read
                print(line, file=sys.stderr)
            shown.add(line)
        else:
            usual(message, category, *place, **further)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = usual


def _is_out_of_memory(error: Exception) -> bool:
    """Whether memory of the host or of an accelerator has run out, as NumPy, TensorFlow and JAX say it."""
    named = type(error).__name__ == "ResourceExhaustedError" or "RESOURCE_EXHAUSTED" in str(error)[:500]
    return isinstance(error, MemoryError) or named


def _message(error: Exception, with_room: str) -> str:
    """What went wrong, in words: the operating system's own are of little help for a folder that cannot be made."""
    name = getattr(error, "filename", None)
    if isinstance(error, FileExistsError | NotADirectoryError) and error.errno and name:
        return f"{name} is a file, and a folder is needed there: choose another output, or move the file away"
    if isinstance(error, PermissionError) and error.errno and name:
        return f"{name} cannot be written or read: permission denied; choose another path, or change its rights"
    if isinstance(error, FileNotFoundError) and error.errno and name:
        return f"{name} is not there, and if it is an output it cannot be made: choose another path"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        advice = ", ".join(part for part in ("make room there", with_room) if part)
        return f"{name or 'the output'} cannot be written: {error.strerror}; {advice}, or choose another path"
    if isinstance(error, OSError) and error.errno and name:
        return f"{name} cannot be written or read: {error.strerror}; choose another path"
    return str(error) or type(error).__name__


def _fail(program: str, message: str) -> int:
    print(f"{program}: error: {_one_line(message)}", file=sys.stderr)
    return EXIT_WRONG_INPUT


def _one_line(message: str) -> str:
    return " ".join(message.split())


def _unknown_verb(word: str) -> str:
    near = difflib.get_close_matches(word, VERBS, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown command {word!r}: {hint}the commands are {', '.join(VERBS)}"


def _help() -> str:
    width = max(map(len, VERBS))
    lines = [f"  {verb:<{width}}  {verb_module(verb).HELP}" for verb in VERBS]
    return "\n".join(
        [
            f"usage: {PROGRAM} <command> [options]",
            "",
            DESCRIPTION,
            "",
            "commands:",
            *lines,
            "",
            f"{PROGRAM} <command> --help explains one; {PROGRAM} --version prints the version.",
            "VISUAL_FORESIGHT_TRACEBACK=1 shows the traceback behind a one-line error.",
        ]
    )


def _option_strings(parser: argparse.ArgumentParser) -> set[str]:
    """All long options of a parser and of the parsers nested in it."""
    return {option for each in _nested(parser) for option in each._option_string_actions}


def _nested(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from _nested(child)


def _spell(word: str, known: set[str]) -> str:
    """Return an option under the spelling that the parser knows: dashes and underscores are one."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    if name in known:
        return word
    plain = name[2:].replace("-", "_")
    same = [option for option in known if option[2:].replace("-", "_") == plain]
    return same[0] + equals + value if same else word
