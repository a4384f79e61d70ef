"""What the machine can do at most: products and convolutions of the sizes that predictors use, and copying memory."""

from typing import Any

import numpy as np

from visual_foresight.speed.measurement import Measurement, timed

MATRIX_PRODUCT = "matrix product float32"
MATRIX_PRODUCT_BFLOAT16 = "matrix product bfloat16"
CONVOLUTION = "convolution float32"
CONVOLUTION_BFLOAT16 = "convolution bfloat16"
SMALL_CONVOLUTION = "small convolution float32"
SMALL_CONVOLUTION_BFLOAT16 = "small convolution bfloat16"
MEMORY_COPY = "memory copy"

# [batch, rows and columns, channels in, channels out, kernel]: the first ConvLSTM of the seed, a block of `fast`.
_LARGE = (32, 32, 64, 128, 5)
_SMALL = (32, 16, 48, 48, 3)
# Accelerators need more work at once than a CPU to reach their limits, or starting a call is all that is measured.
_SIDE, _ACCELERATOR_SIDE = 1024, 8192
_ACCELERATOR_BATCH = 1024
# Of what is so small that starting a call shows: inside a network nothing is started between one and the next.
_CHAINED = 8


def measure_limits(*, repeats: int, warmup: int) -> list[Measurement]:
    """Measure all of them; the first is the one that machines are told apart by."""
    times = {"repeats": repeats, "warmup": max(warmup, 1)}
    return [
        measure_matrix_product("float32", **times),
        measure_matrix_product("bfloat16", **times),
        measure_convolution(CONVOLUTION, _LARGE, "float32", **times),
        measure_convolution(CONVOLUTION_BFLOAT16, _LARGE, "bfloat16", **times),
        measure_convolution(SMALL_CONVOLUTION, _SMALL, "float32", **times),
        measure_convolution(SMALL_CONVOLUTION_BFLOAT16, _SMALL, "bfloat16", **times),
        measure_memory_copy(**times),
    ]


def measure_matrix_product(dtype: str, *, repeats: int, warmup: int, size: int | None = None) -> Measurement:
    """A square matrix product on the backend; by default 1024 wide on a CPU and 8192 on an accelerator."""
    from keras import ops

    from visual_foresight.backend import compile_function, device_kind

    size = size or (_SIDE if device_kind() == "cpu" else _ACCELERATOR_SIDE)
    left = ops.convert_to_tensor(np.random.default_rng(0).normal(size=(size, size)), dtype)
    product = compile_function(lambda a, b: ops.sum(ops.cast(ops.matmul(a, b), "float32")))
    seconds = timed(lambda: float(product(left, left)), repeats=repeats, warmup=warmup)
    return Measurement(f"matrix product {dtype}", "FLOP", 2.0 * size**3, seconds, f"{size}x{size}", *_itself(dtype))


def _itself(dtype: str) -> tuple[str, float]:
    return f"matrix product {dtype}", 1.0


def measure_convolution(
    name: str, sizes: tuple[int, int, int, int, int], dtype: str, *, repeats: int, warmup: int
) -> Measurement:
    """A convolution on the backend, summed up so that the result is not copied out.

    The batch is that of `sizes` on a CPU, and 1024 on an accelerator. One with as many channels out as in follows on
    itself eight times in a call.
    """
    from keras import ops

    from visual_foresight.backend import compile_function, device_kind

    batch, side, inputs, outputs, kernel = sizes
    batch = batch if device_kind() == "cpu" else _ACCELERATOR_BATCH
    rng = np.random.default_rng(0)
    images = ops.convert_to_tensor(rng.normal(size=(batch, side, side, inputs)), dtype)
    chained = _CHAINED if inputs == outputs else 1
    scale = 1.0 / (kernel * np.sqrt(inputs))  # numbers stay of one size along a chain
    weights = ops.convert_to_tensor(rng.normal(0.0, scale, (kernel, kernel, inputs, outputs)), dtype)

    def convolve(images: Any, weights: Any) -> Any:
        for _ in range(chained):
            images = ops.conv(images, weights, padding="same")
        return ops.sum(ops.cast(images[:, ::side, ::side], "float32"))

    compiled = compile_function(convolve)
    seconds = timed(lambda: float(compiled(images, weights)), repeats=repeats, warmup=warmup)
    flops = 2.0 * chained * batch * side**2 * inputs * outputs * kernel**2
    note = f"{batch} x {side}x{side}x{inputs} to {outputs}, {kernel}x{kernel}"
    note += f", {chained} in a row" if chained > 1 else ""
    return Measurement(name, "FLOP", flops, seconds, note, name, 1.0)


def measure_memory_copy(*, repeats: int, warmup: int, megabytes: int = 64) -> Measurement:
    """Copying a block that does not fit into the caches of the host, by the host; bytes count once."""
    source = np.ones(megabytes * 2**20, np.uint8)
    target = np.empty_like(source)
    seconds = timed(lambda: np.copyto(target, source), repeats=repeats, warmup=warmup)
    return Measurement(MEMORY_COPY, "B", source.nbytes, seconds, f"{megabytes} MiB, one thread", MEMORY_COPY, 1.0)
