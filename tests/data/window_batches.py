"""Batches of windows, taken from a dataset and compared."""

import numpy as np

SMALL = {"sequence_length": 4, "batch_size": 2, "seed": 5, "preprocess": "none"}


def take(dataset, count=-1):
    """The first batches as arrays by name, all of them by default."""
    return [{name: part.numpy() for name, part in batch.items()} for batch in dataset.take(count)]


def assert_same(first, second):
    """Equal to the bit, and not empty."""
    assert len(first) == len(second) > 0
    for a, b in zip(first, second, strict=True):
        for name in ("frames", "actions", "states"):
            np.testing.assert_array_equal(a[name], b[name])
