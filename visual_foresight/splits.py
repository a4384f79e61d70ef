"""What trains and what validates: a data set split by file, as the original does, or by episode."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

__all__ = ["split_episodes", "split_files"]

Item = TypeVar("Item")
Name = TypeVar("Name", str, Path)


def split_files(files: Sequence[Name], train_fraction: float = 0.95) -> tuple[list[Name], list[Name]]:
    """Split sorted files as the original does: the first `floor(train_fraction * N)` train, the rest validates.

    Raises:
        ValueError: The fraction is not in (0, 1], there is no file, or nothing would be left to train on (one file
            cannot be split by file: use `split_episodes`).
    """
    _check_fraction(train_fraction)
    ordered = sorted(files)
    if not ordered:
        raise ValueError("there is no file to split")
    num_train = int(np.floor(train_fraction * len(ordered)))
    if not num_train:
        raise ValueError(
            f"{len(ordered)} file(s) at train_fraction={train_fraction} leave none to train on: write smaller shards, "
            "split by episode (split_episodes), or pass train_fraction=1"
        )
    return ordered[:num_train], ordered[num_train:]


def split_episodes(
    episodes: Sequence[Item], train_fraction: float = 0.95, seed: int = 0
) -> tuple[list[Item], list[Item]]:
    """Split episodes at random: `floor(train_fraction * N)` train (at least one), the rest validates; order is kept.

    Raises:
        ValueError: The fraction is not in (0, 1], or there is no episode.
    """
    _check_fraction(train_fraction)
    if not len(episodes):
        raise ValueError("there is no episode to split")
    num_train = max(1, int(np.floor(train_fraction * len(episodes))))
    chosen = np.zeros(len(episodes), bool)
    chosen[np.random.default_rng(seed).permutation(len(episodes))[:num_train]] = True
    train = [episode for episode, is_train in zip(episodes, chosen, strict=True) if is_train]
    return train, [episode for episode, is_train in zip(episodes, chosen, strict=True) if not is_train]


def _check_fraction(train_fraction: float) -> None:
    if not 0 < train_fraction <= 1:
        raise ValueError(f"train_fraction must be in (0, 1], got {train_fraction}")
