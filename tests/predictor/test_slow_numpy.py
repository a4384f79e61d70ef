"""The transformations, the compositor and the ConvLSTM step against an independent slow NumPy version."""

import dataclasses

import numpy as np
import pytest
import slow_numpy_predictor as slow
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from visual_foresight.predictor import compositor, separable, transformations
from visual_foresight.predictor.backbone import HeadOutputs
from visual_foresight.predictor.config import PredictorConfig
from visual_foresight.predictor.layers import ConvLSTMStep
from visual_foresight.predictor.transformations import SEED_STYLE, Style

TOLERANCE = 2e-5
FEW = settings(max_examples=12, deadline=None)
sides = st.integers(2, 9)
seeds = st.integers(0, 2**32 - 1)


def make_config(transformation, num_masks, size, **fields):
    return PredictorConfig(transformation=transformation, num_masks=num_masks, kernel_size=size, **fields)


@st.composite
def scenes(draw):
    """A batch of images [B, H, W, C] of any shape, values beyond [0, 1] included, and a generator."""
    rng = np.random.default_rng(draw(seeds))
    shape = (draw(st.integers(1, 3)), draw(sides), draw(sides), draw(st.integers(1, 5)))
    dtype = draw(st.sampled_from([np.float32, np.float64, np.float16]))
    return rng.normal(0.3, 0.7, shape).astype(dtype), rng


def check_transform(images, parameters, config, style, expected_of):
    """`transform` gives the slow version's images, `blend` their masked sum."""
    images = images.astype(np.float32)
    moves = transformations.operators(parameters.astype(np.float32), config, style)
    expected = np.stack([expected_of(image, raw) for image, raw in zip(images, parameters, strict=True)])
    found = np.asarray(transformations.transform(moves, images, config, style))
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)
    masks = np.random.default_rng(0).dirichlet(np.ones(expected.shape[1] + 1), images.shape[:3])[..., 1:]
    blended = np.asarray(transformations.blend(moves, masks.astype(np.float32), images, config, style))
    np.testing.assert_allclose(blended, np.einsum("bhwm,bmhwc->bhwc", masks, expected), atol=TOLERANCE)


@FEW
@given(scenes(), st.integers(1, 4), st.sampled_from([1, 3, 5]), st.sampled_from(["relu", "softmax"]), st.booleans())
def test_cdna_is_the_slow_version(scene, num_masks, size, normalisation, edge):
    """Kernels for the whole image, any normalisation and padding."""
    images, rng = scene
    style = Style(kernel_normalisation=normalisation, padding="edge" if edge else "zero", identity_bias=1.5)
    config = make_config("cdna", num_masks, size)
    parameters = rng.normal(0, 2, (len(images), *transformations.parameter_shape(config, style)))
    check_transform(
        images,
        parameters,
        config,
        style,
        lambda image, raw: slow.cdna(image, raw, num_masks, size, normalisation, style.padding, 1.5),
    )


@FEW
@given(scenes(), st.integers(1, 4), st.sampled_from([1, 3, 7, 9]), st.booleans())
def test_separable_cdna_is_the_slow_version(scene, num_masks, size, edge):
    """Banded matrices are correlation along both axes, also when the kernel is wider than the image."""
    images, rng = scene
    style = Style(separable=True, padding="edge" if edge else "zero", identity_bias=0.7)
    config = make_config("cdna", num_masks, size)
    parameters = rng.normal(0, 2, (len(images), *transformations.parameter_shape(config, style)))
    check_transform(
        images,
        parameters,
        config,
        style,
        lambda image, raw: slow.separable_cdna(image, raw, num_masks, size, style.padding, 0.7),
    )


@FEW
@given(scenes(), st.sampled_from([1, 3, 5]), st.sampled_from(["relu", "softmax"]), st.booleans())
def test_dna_is_the_slow_version(scene, size, normalisation, edge):
    """One kernel for each pixel."""
    images, rng = scene
    style = Style(kernel_normalisation=normalisation, padding="edge" if edge else "zero")
    parameters = rng.normal(0, 2, (*images.shape[:3], size * size))
    check_transform(
        images,
        parameters,
        make_config("dna", 1, size),
        style,
        lambda image, raw: slow.dna(image, raw, size, normalisation, style.padding),
    )


def distance_to_border(parameters, height, width):
    """How near sample points of the original come to the first or the last pixel of a row or column [px]."""
    theta = parameters.astype(np.float64).reshape(-1, 2, 3) + np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    rows, columns = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    places = theta @ np.stack([columns.ravel(), rows.ravel(), np.ones(height * width)])  # [N, 2, H*W]
    sizes = np.array([[width], [height]])
    pixels = (places + 1) * sizes / 2
    return min(np.abs(pixels).min(), np.abs(pixels - (sizes - 1)).min())


@FEW
@given(scenes(), st.integers(1, 4), st.booleans(), st.floats(0.05, 1.0))
def test_stp_is_the_slow_version(scene, num_warps, original, spread):
    """Affine warps, with the original's sampling and with ours."""
    images, rng = scene
    style = dataclasses.replace(SEED_STYLE, transformed_share_masks=False) if original else Style()
    parameters = rng.normal(0, spread, (len(images), 6 * num_warps)).astype(np.float32)
    # The original jumps to zero outside; a sample point a rounding error beside the border would be on the other side.
    assume(not original or distance_to_border(parameters, *images.shape[1:3]) > 1e-4)
    check_transform(
        images,
        parameters,
        make_config("stp", num_warps, 5, backbone="fast"),
        style,
        lambda image, raw: slow.stp(image.astype(np.float64), raw.astype(np.float32), original),
    )


@FEW
@given(seeds, st.integers(1, 3), st.integers(2, 4), st.sampled_from(["cdna", "dna", "stp"]), st.sampled_from([8, 16]))
def test_seed_composite_is_the_slow_version(seed, batch, num_masks, transformation, width):
    """Previous frame, generated image, transformed images; the last cdna kernel is not used; maps move alike."""
    rng = np.random.default_rng(seed)
    config = make_config(
        transformation, 1 if transformation == "dna" else num_masks, 3, image_height=8, image_width=width
    )
    frame, maps, outputs = make_outputs(rng, batch, config, SEED_STYLE)
    result = compositor.composite(outputs, frame, config, SEED_STYLE, maps=maps)
    for index in range(batch):
        raw = outputs.parameters[index]
        masks = slow.softmax_masks(outputs.mask_logits[index].astype(np.float64), relu=True)
        moved = {
            "cdna": lambda image, raw=raw: slow.cdna(image, raw, config.num_masks, 3, "relu", "zero")[:-1],
            "dna": lambda image, raw=raw: slow.dna(image, raw, 3, "relu", "zero"),
            "stp": lambda image, raw=raw: slow.stp(image, raw, original=True),
        }[transformation]
        painted = [] if transformation == "dna" else [outputs.generated[index]]
        expected = slow.compose(masks, [frame[index], *painted], moved(frame[index]))
        np.testing.assert_allclose(np.asarray(result.frame)[index], expected, atol=TOLERANCE)
        np.testing.assert_allclose(np.asarray(result.masks)[index], masks, atol=TOLERANCE)
        stay = [maps[index]] * (1 + len(painted))
        expected = slow.compose(masks, stay, moved(maps[index]))
        np.testing.assert_allclose(np.asarray(result.maps)[index], expected / expected.sum((0, 1)), atol=TOLERANCE)


@FEW
@given(seeds, st.integers(1, 3), st.integers(1, 4), st.sampled_from(["cdna", "dna", "stp"]), st.booleans())
def test_fast_composite_is_the_slow_version(seed, batch, num_masks, transformation, separable):
    """Previous frame, first frame, generated image, transformed images; the first frame's map for the first frame."""
    rng = np.random.default_rng(seed)
    style = Style(identity_bias=1.0, separable=separable and transformation == "cdna")
    num_masks = 1 if transformation == "dna" else num_masks
    config = make_config(transformation, num_masks, 3, image_height=8, image_width=16, backbone="fast")
    frame, maps, outputs = make_outputs(rng, batch, config, style)
    first, first_maps, _ = make_outputs(rng, batch, config, style)
    result = compositor.composite(outputs, frame, config, style, first_frame=first, maps=maps, first_maps=first_maps)
    for index in range(batch):
        raw = outputs.parameters[index]
        masks = slow.softmax_masks(outputs.mask_logits[index].astype(np.float64), relu=False)
        moved = {
            "cdna": lambda image, raw=raw: (
                slow.separable_cdna(image, raw, num_masks, 3, "edge", 1.0)
                if style.separable
                else slow.cdna(image, raw, num_masks, 3, "softmax", "edge", 1.0)
            ),
            "dna": lambda image, raw=raw: slow.dna(image, raw, 3, "softmax", "edge", 1.0),
            "stp": lambda image, raw=raw: slow.stp(image, raw, original=False),
        }[transformation]
        known = [frame[index], first[index], outputs.generated[index]]
        expected = slow.compose(masks, known, moved(frame[index]))
        np.testing.assert_allclose(np.asarray(result.frame)[index], expected, atol=TOLERANCE)
        known = [maps[index], first_maps[index], np.zeros_like(maps[index])]  # painted: nothing came from there
        expected = slow.compose(masks, known, moved(maps[index]))
        np.testing.assert_allclose(np.asarray(result.maps)[index], expected / expected.sum((0, 1)), atol=TOLERANCE)


@FEW
@given(seeds, st.integers(1, 3), st.integers(1, 4), st.booleans())
def test_a_draft_is_the_slow_version_of_means(seed, batch, num_masks, again):
    """Masks of half the resolution times means of 2 x 2 pixels of each layer, moved with pixels repeated."""
    rng = np.random.default_rng(seed)
    style = Style(identity_bias=1.0, separable=True)
    config = make_config("cdna", num_masks, 5, image_height=8, image_width=16, backbone="fast")
    frame, maps, outputs = make_outputs(rng, batch, config, style)
    outputs = outputs._replace(mask_logits=outputs.mask_logits[:, ::2, ::2])
    first, first_maps, _ = make_outputs(rng, batch, config, style)
    coarse_maps, coarse_first_maps = (
        np.stack([slow.coarse_map(one) for one in many]).astype(np.float32) for many in (maps, first_maps)
    )
    known = {"first_frame": first, "maps": coarse_maps if again else maps, "first_maps": first_maps}
    given_frame = means(frame) if again else frame  # a draft made of a draft
    result = compositor.composite(outputs, given_frame, config, style, **known, draft=True)
    only_maps = compositor.composite(outputs, given_frame, config, style, **known, draft=True, maps_only=True)
    assert only_maps.frame is None
    np.testing.assert_allclose(np.asarray(only_maps.maps), np.asarray(result.maps), atol=TOLERANCE)
    for index in range(batch):
        masks = slow.softmax_masks(outputs.mask_logits[index].astype(np.float64), relu=False)

        def moved(coarse, raw=outputs.parameters[index]):
            repeated = coarse.repeat(2, axis=0).repeat(2, axis=1)
            return [means(one[None])[0] for one in slow.separable_cdna(repeated, raw, num_masks, 5, "edge", 1.0)]

        layers = [means(layer[index : index + 1])[0] for layer in (frame, first, outputs.generated)]
        expected = slow.compose(masks, layers, moved(layers[0]))
        np.testing.assert_allclose(np.asarray(result.frame)[index], expected, atol=TOLERANCE)
        layers = [coarse_maps[index], coarse_first_maps[index], np.zeros_like(coarse_maps[index])]
        expected = slow.compose(masks, layers, moved(layers[0]))
        np.testing.assert_allclose(np.asarray(result.maps)[index], expected / expected.sum((0, 1)), atol=TOLERANCE)


@FEW
@given(seeds)
def test_a_coarse_map_keeps_mass_and_mean(seed):
    """At the border, where no nearer pixel lies beyond, it may move inwards by a quarter of a coarse pixel."""
    rng = np.random.default_rng(seed)
    maps = np.zeros((3, 8, 16, 2), np.float32)
    maps[:, 1:-1, 1:-1] = rng.random((3, 6, 14, 2)) ** 6
    coarse = np.asarray(separable.coarse_maps(maps))
    np.testing.assert_allclose(coarse, [slow.coarse_map(one) for one in maps], atol=TOLERANCE)
    np.testing.assert_allclose(coarse.sum((1, 2)), maps.sum((1, 2)), rtol=1e-4)
    for axis, other in ((1, 2), (2, 1)):
        places, coarse_places = np.arange(maps.shape[axis]), 2 * np.arange(coarse.shape[axis]) + 0.5
        mean = np.einsum("bap,a->bp", maps.sum(other), places) / maps.sum((1, 2))
        np.testing.assert_allclose(
            np.einsum("bap,a->bp", coarse.sum(other), coarse_places) / coarse.sum((1, 2)), mean, atol=1e-3
        )


def means(images):
    """Of 2 x 2 pixels each: [B, H, W, C] to [B, H/2, W/2, C]."""
    batch, height, width, channels = images.shape
    return images.reshape(batch, height // 2, 2, width // 2, 2, channels).mean(axis=(2, 4))


def make_outputs(rng, batch, config, style):
    """A frame, two maps on it, and what a backbone might say, all at random."""
    size = (batch, *config.image_size)
    maps = rng.random((*size, 2)) ** 4
    spread = 0.3 if config.transformation == "stp" else 2.0
    outputs = HeadOutputs(
        mask_logits=rng.normal(0, 2, (*size, compositor.num_layers(config, style))).astype(np.float32),
        generated=rng.random((*size, 3), np.float32) if compositor.has_generated(config, style) else None,
        parameters=rng.normal(0, spread, (batch, *transformations.parameter_shape(config, style))).astype(np.float32),
        next_state=None,
    )
    return rng.random((*size, 3), np.float32), (maps / maps.sum((1, 2), keepdims=True)).astype(np.float32), outputs


@FEW
@given(seeds, st.integers(1, 2), sides, sides, st.integers(1, 4), st.integers(1, 4), st.sampled_from([1, 3, 5]))
def test_conv_lstm_step_is_the_slow_version(seed, batch, height, width, channels, filters, size):
    """One step from any state."""
    rng = np.random.default_rng(seed)
    layer = ConvLSTMStep(filters, size)
    layer.build((None, None, None, channels))
    kernel = rng.normal(0, 0.3, (size, size, channels + filters, 4 * filters)).astype(np.float32)
    bias = rng.normal(0, 0.3, 4 * filters).astype(np.float32)
    layer.gates.set_weights([kernel, bias])
    inputs, cell, hidden = (
        rng.normal(0, 1, (batch, height, width, count)).astype(np.float32) for count in (channels, filters, filters)
    )
    output, (next_cell, next_hidden) = layer(inputs, cell, hidden)
    np.testing.assert_array_equal(output, next_hidden)
    for index in range(batch):
        expected = slow.conv_lstm_step(inputs[index], cell[index], hidden[index], kernel, bias)
        np.testing.assert_allclose(np.asarray(next_hidden)[index], expected[0], atol=TOLERANCE)
        np.testing.assert_allclose(np.asarray(next_cell)[index], expected[1], atol=TOLERANCE)


@pytest.mark.parametrize("padding", ["zero", "edge"])
@pytest.mark.parametrize("size", [1, 3, 5])
def test_gradient_of_taps_is_the_numerical_one(padding, size):
    """The hand-written gradient against central differences of the slow sum."""
    import keras

    if keras.backend.backend() != "tensorflow":
        pytest.skip("gradients are compared on TensorFlow")
    from visual_foresight.backend import import_tensorflow

    tensorflow = import_tensorflow()
    rng = np.random.default_rng(3)
    images, taps = rng.normal(size=(1, 4, 3, 2)), rng.normal(size=(1, size * size, 4, 3))
    weights = rng.normal(size=images.shape)

    def total(images, taps):
        """The weighted sum of the slow result."""
        image, kernel = images[0], np.moveaxis(taps[0], 0, -1)
        result = np.zeros(image.shape)
        for (y, x, tap), value in np.ndenumerate(kernel):
            dy, dx = divmod(tap, size)
            result[y, x] += value * slow.pixel(image, y + dy - size // 2, x + dx - size // 2, padding)
        return (weights[0] * result).sum()

    variables = [tensorflow.Variable(array, dtype="float32") for array in (images, taps)]
    with tensorflow.GradientTape() as tape:
        result = transformations.apply_taps(variables[1] * 1.0, variables[0] * 1.0, padding)
        found = tape.gradient(tensorflow.reduce_sum(result * weights.astype(np.float32)), variables)
    for which, gradient in enumerate(found):
        for place in np.ndindex(*gradient.shape):
            nudge = [np.zeros(images.shape), np.zeros(taps.shape)]
            nudge[which][place] = 0.5  # the function is linear in each argument: any step is exact
            difference = total(images + nudge[0], taps + nudge[1]) - total(images - nudge[0], taps - nudge[1])
            assert float(gradient[place]) == pytest.approx(difference, abs=1e-4)
