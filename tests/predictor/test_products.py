"""Convolutions as products of matrices are convolutions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from visual_foresight.predictor import VideoPredictor, products
from visual_foresight.simulator import LearnedSimulator


@settings(max_examples=25, deadline=None)
@given(
    size=st.sampled_from((1, 2, 3, 5)),
    stride=st.integers(1, 3),
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_a_product_of_what_is_unfolded_is_the_convolution(size, stride, rows, columns, seed):
    """For any size, stride and picture, also one smaller than the kernel."""
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(2, rows, columns, 3)).astype(np.float32)
    kernel = rng.normal(size=(size, size, 3, 4)).astype(np.float32)
    found = ops.matmul(products.unfold(images, size, stride), kernel.reshape(-1, 4))
    np.testing.assert_allclose(found, ops.conv(images, kernel, strides=stride, padding="same"), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("draft", [False, True])
def test_a_preset_imagines_the_same_by_products(monkeypatch, draft):
    """Every convolution of the fast network, those of drafts too."""
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (1, 8, 8, 3), dtype=np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    actions = rng.uniform(-1, 1, (3, 6, 2)).astype(np.float32)
    called = []
    convolve = products.ops.conv
    monkeypatch.setattr(products.ops, "conv", lambda *given, **named: called.append(1) or convolve(*given, **named))

    def imagine():
        simulator = LearnedSimulator(VideoPredictor.from_preset("push_fast"))
        start = simulator.start(frame, None, np.zeros((1, 2), np.float32), pixels=[(30.0, 31.0)])
        return simulator.rollout(start, actions, ("pixel_distributions",), every=3, draft=draft).pixel_distributions

    expected = imagine()
    assert called
    called.clear()
    monkeypatch.setattr(products, "prefers_products", lambda: True)
    np.testing.assert_allclose(imagine(), expected, atol=2e-5)
    assert not called
