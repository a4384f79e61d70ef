"""An independent, slow version of the transformations, the compositor and the ConvLSTM step: loops in NumPy, float64.

Written from the formulas alone (arXiv:1605.07157 and the conventions of the original code), pixel by pixel, so that it
shares no idea of arrangement with the fast version.
"""

import math

import numpy as np

RELU_SHIFT = 1e-12


def pixel(image, row, column, padding):
    """One pixel [C] of an image [H, W, C]; what lies outside depends on the padding."""
    height, width, channels = image.shape
    if padding == "edge":
        return image[min(max(row, 0), height - 1), min(max(column, 0), width - 1)]
    if 0 <= row < height and 0 <= column < width:
        return image[row, column]
    return np.zeros(channels)


def normalise(taps, normalisation, identity_bias):
    """Positive taps with sum 1 from raw ones, any number of axes, taken together."""
    taps = np.array(taps, np.float64)
    if normalisation == "softmax":
        taps.reshape(-1)[taps.size // 2] += identity_bias
        powers = np.exp(taps - taps.max())
        return powers / powers.sum()
    shifted = np.maximum(taps - RELU_SHIFT, 0) + RELU_SHIFT
    return shifted / shifted.sum()


def correlate(image, kernel, padding):
    """One kernel [Kr, Kc] on one image [H, W, C], not flipped."""
    rows, columns = kernel.shape
    result = np.zeros(image.shape)
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            for dy in range(rows):
                for dx in range(columns):
                    neighbour = pixel(image, y + dy - rows // 2, x + dx - columns // 2, padding)
                    result[y, x] += kernel[dy, dx] * neighbour
    return result


def cdna(image, parameters, num_kernels, size, normalisation, padding, identity_bias=0.0):
    """All transformed images [M, H, W, C] from raw parameters [K*K*M], the mask index fastest."""
    raw = np.reshape(parameters, (size, size, num_kernels))
    kernels = [normalise(raw[:, :, index], normalisation, identity_bias) for index in range(num_kernels)]
    return np.stack([correlate(image, kernel, padding) for kernel in kernels])


def separable_cdna(image, parameters, num_kernels, size, padding, identity_bias):
    """All transformed images from K row taps and K column taps for each: outer products as kernels, axis by axis."""
    raw = np.reshape(parameters, (num_kernels, 2, size))
    results = []
    for index in range(num_kernels):
        rows, columns = (normalise(raw[index, axis], "softmax", identity_bias) for axis in range(2))
        results.append(correlate(correlate(image, columns[None, :], padding), rows[:, None], padding))
    return np.stack(results)


def dna(image, parameters, size, normalisation, padding, identity_bias=0.0):
    """The transformed image [1, H, W, C] from one raw kernel for each pixel, [H, W, K*K]."""
    result = np.zeros(image.shape)
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            kernel = normalise(parameters[y, x].reshape(size, size), normalisation, identity_bias)
            for dy in range(size):
                for dx in range(size):
                    result[y, x] += kernel[dy, dx] * pixel(image, y + dy - size // 2, x + dx - size // 2, padding)
    return result[None]


def stp(image, parameters, original):
    """All transformed images [M, H, W, C] from raw affine parameters [6*M]."""
    results = []
    for raw in np.reshape(np.asarray(parameters, np.float64), (-1, 6)):
        theta = (raw + np.array([1, 0, 0, 0, 1, 0], np.float64)).reshape(2, 3)
        results.append(warp(image, theta, original))
    return np.stack(results)


def warp(image, theta, original):
    """Bilinear sampling; the original scales by W/2 and gives 0 outside, ours by (W-1)/2 and repeats the border."""
    height, width, _ = image.shape
    result = np.zeros(image.shape)
    for row in range(height):
        for column in range(width):
            target = np.array([-1 + 2 * column / (width - 1), -1 + 2 * row / (height - 1), 1.0])
            x, y = theta @ target
            if original:
                result[row, column] = sample_original(image, (x + 1) * width / 2, (y + 1) * height / 2)
            else:
                x = min(max((x + 1) * (width - 1) / 2, 0), width - 1)
                y = min(max((y + 1) * (height - 1) / 2, 0), height - 1)
                result[row, column] = sample_inside(image, x, y)
    return result


def sample_original(image, x, y):
    """Indices are clipped first, weights taken from the clipped ones."""
    height, width, _ = image.shape
    x0, y0 = (min(max(math.floor(v), 0), size - 1) for v, size in ((x, width), (y, height)))
    x1, y1 = (min(max(math.floor(v) + 1, 0), size - 1) for v, size in ((x, width), (y, height)))
    return (
        image[y0, x0] * (x1 - x) * (y1 - y)
        + image[y1, x0] * (x1 - x) * (y - y0)
        + image[y0, x1] * (x - x0) * (y1 - y)
        + image[y1, x1] * (x - x0) * (y - y0)
    )


def sample_inside(image, x, y):
    """Bilinear interpolation at a point inside the image."""
    x0, y0 = math.floor(x), math.floor(y)
    across, down = x - x0, y - y0
    upper = (1 - across) * pixel(image, y0, x0, "edge") + across * pixel(image, y0, x0 + 1, "edge")
    lower = (1 - across) * pixel(image, y0 + 1, x0, "edge") + across * pixel(image, y0 + 1, x0 + 1, "edge")
    return (1 - down) * upper + down * lower


def softmax_masks(logits, relu):
    """Masks [H, W, L] from logits."""
    logits = np.maximum(logits, 0) if relu else np.asarray(logits, np.float64)
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def compose(masks, known, transformed):
    """The masked sum of the known layers, then the transformed ones, [H, W, C] each."""
    result = np.zeros(known[0].shape)
    for index, layer in enumerate([*known, *transformed]):
        for row in range(result.shape[0]):
            for column in range(result.shape[1]):
                result[row, column] += masks[row, column, index] * layer[row, column]
    return result


def sigmoid(values):
    """The logistic function."""
    return 1 / (1 + np.exp(-np.asarray(values, np.float64)))


def conv_lstm_step(inputs, cell, hidden, kernel, bias):
    """One step on one example: inputs [H, W, C], cell and hidden [H, W, F], kernel [k, k, C+F, 4F] -> (h, c)."""
    joined = np.concatenate([inputs, hidden], axis=-1).astype(np.float64)
    height, width, _ = joined.shape
    size = kernel.shape[0]
    gates = np.zeros((height, width, kernel.shape[-1]))
    for y in range(height):
        for x in range(width):
            gates[y, x] = bias
            for dy in range(size):
                for dx in range(size):
                    neighbour = pixel(joined, y + dy - size // 2, x + dx - size // 2, "zero")
                    gates[y, x] += neighbour @ kernel[dy, dx]
    enter, candidate, forget, leave = np.split(gates, 4, axis=-1)
    cell = cell * sigmoid(forget + 1) + sigmoid(enter) * np.tanh(candidate)
    return np.tanh(cell) * sigmoid(leave), cell


def coarse_map(probabilities):
    """[H, W, P] to [H/2, W/2, P]: each pixel shared between the nearest coarse rows and columns, one by one."""
    height, width, count = probabilities.shape
    coarse = np.zeros((height // 2, width // 2, count))
    for row in range(height):
        for column in range(width):
            for to_row, share in _neighbours(row, height // 2):
                for to_column, other in _neighbours(column, width // 2):
                    coarse[to_row, to_column] += share * other * probabilities[row, column]
    return coarse


def _neighbours(place, size):
    """The two coarse pixels of which a fine one lies nearest, with shares: 3/4 and 1/4, at the border all of it."""
    own, other = place // 2, place // 2 + (1 if place % 2 else -1)
    return [(own, 0.75), (other, 0.25)] if 0 <= other < size else [(own, 1.0)]
