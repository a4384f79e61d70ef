"""Maps of drafts at full resolution."""

import numpy as np
from keras import ops

from visual_foresight.unrolling import whole_maps


def test_each_pixel_of_a_draft_stands_for_a_block():
    """Of arrays and of tensors, whatever their axes' order in memory; sums stay."""
    drafts = np.random.default_rng(0).random((2, 3, 1, 4, 6), np.float32).transpose(1, 0, 2, 3, 4)
    expected = np.kron(drafts, np.ones((2, 2), np.float32)) / 4
    np.testing.assert_allclose(whole_maps(drafts, np, 8), expected, rtol=1e-6)
    np.testing.assert_allclose(whole_maps(ops.convert_to_tensor(drafts), ops, 8), expected, rtol=1e-6)
    np.testing.assert_allclose(whole_maps(drafts, np, 8).sum(axis=(3, 4)), drafts.sum(axis=(3, 4)), rtol=1e-5)


def test_whole_maps_stay_as_they_are():
    """Without a copy."""
    maps = np.ones((2, 1, 1, 8, 8), np.float32)
    assert whole_maps(maps, np, 8) is maps
