"""Options that were given and would not be read: contradictions, refused rather than ignored.

`parse` notes in ``args.given`` which options stood on the command line, so that a default is told from its own value.
"""

import argparse
from collections.abc import Collection, Iterable, Mapping

MODEL = ("preset", "second_opinion", "disagreement_weight", "precision")
"""Options of the learned simulator, which no other method reads."""


def given_options(parser: argparse.ArgumentParser, words: Iterable[str]) -> dict[str, str]:
    """The options that stand among the words: how each was written, by the name of its value."""
    actions = dict(parser._option_string_actions)
    for nested in parser._actions:
        if isinstance(nested, argparse._SubParsersAction):
            for child in nested.choices.values():
                actions |= child._option_string_actions
    written = (word.partition("=")[0] for word in words)
    return {actions[option].dest: option for option in written if option in actions}


def refuse_unread(args: argparse.Namespace, names: Collection[str], why: str) -> None:
    """Refuse options that nothing would read.

    Args:
        args: as `parse` returns them.
        names: options that are not read now.
        why: how the message begins: "--compare only compares results and runs nothing".

    Raises:
        ValueError: names those that were given.
    """
    found = [option for name, option in _given(args).items() if name in names]
    if found:
        raise ValueError(f"{why}, so {' and '.join(found)} would be ignored: leave out one or the other")


def refuse_all_but(args: argparse.Namespace, read: Collection[str], why: str) -> None:
    """As `refuse_unread`, where all but a few options are not read."""
    refuse_unread(args, set(_given(args)) - set(read), why)


def _given(args: argparse.Namespace) -> Mapping[str, str]:
    return getattr(args, "given", {})  # none where a caller made the namespace itself
