"""The one place that knows which backend Keras runs on: quiet import, compilation, devices.

Models are written in `keras.ops`; only what differs between TensorFlow and JAX stands here.
"""

import functools
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from visual_foresight import quiet_start

# XLA's loops on the CPU (`predictor.fusing`) are not safe against being run by two threads at once: seen to end the
# process. One call uses all cores anyway.
_RUNNING = threading.RLock()


def silence_start_up() -> None:
    """Keep the backend's start-up messages from the user; call it before the first import of Keras.

    Covers the C++ log (device discovery, oneDNN notice) and Python's loggers. Levels that the user set stay.
    """
    quiet_start.install()
    for name in ("absl", "tensorflow", "jax._src.xla_bridge"):
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.ERROR)


def import_tensorflow() -> Any:
    """Import TensorFlow without its start-up chatter.

    Returns:
        The `tensorflow` module.

    Raises:
        ImportError: TensorFlow is not installed.
    """
    silence_start_up()
    try:
        import tensorflow
    except ImportError as error:
        raise ImportError(
            "this needs TensorFlow, which is not installed; install it with pip install tensorflow"
        ) from error
    return tensorflow


def backend_name() -> str:
    """Name of the backend Keras runs on: "tensorflow" or "jax"."""
    silence_start_up()
    import keras

    return keras.backend.backend()


def device_kind() -> str:
    """Kind of the device that computes: "cpu", "gpu" or "tpu"."""
    if backend_name() == "jax":
        import jax

        platform = jax.default_backend()
        return {"cuda": "gpu", "rocm": "gpu"}.get(platform, platform)
    tensorflow = import_tensorflow()
    for kind in ("TPU", "GPU"):
        if tensorflow.config.list_logical_devices(kind):
            return kind.lower()
    return "cpu"


def trains_through_xla() -> bool:
    """Whether whole training steps are compiled by XLA.

    Convolutions under XLA on a CPU reach about half the rate of oneDNN; JAX knows nothing else.
    """
    return backend_name() == "jax" or device_kind() != "cpu"


def compile_function(
    function: Callable, *, jit: bool | None = None, model: Any = None, static_argnums: Sequence[int] = ()
) -> Callable:
    """Compile a function of arrays for the running backend; one compilation for each set of input shapes.

    TensorFlow: a `tf.function`; through XLA only where that pays, on accelerators (on a CPU, convolutions under XLA
    reach about half of oneDNN's rate). JAX: `jax.jit`, which would bake the weights that `function` reads into the
    program as constants; with `model` they enter as inputs, so that weights changed later are seen.

    Args:
        function: function of nested arrays (positional arguments) that returns nested arrays. Its Python arguments
            that are no arrays are constants of the compilation.
        jit: force XLA on or off on TensorFlow; None chooses by device. JAX always compiles.
        model: the Keras model or layer whose variables `function` reads (any object with `variables`).
        static_argnums: positions of the arguments that are Python constants; needed by JAX only.

    Returns:
        The compiled function, called with the same positional arguments.
    """
    if backend_name() == "jax":
        return _compile_jax(function, model, tuple(static_argnums))
    tensorflow = import_tensorflow()
    through_xla = device_kind() != "cpu" if jit is None else jit
    compiled = tensorflow.function(function, jit_compile=through_xla, autograph=False)

    @functools.wraps(function)
    def one_at_a_time(*arguments: Any) -> Any:
        with _RUNNING:
            return compiled(*arguments)

    return one_at_a_time


def _compile_jax(function: Callable, model: Any, static_argnums: tuple[int, ...]) -> Callable:
    import jax
    import keras

    variables = list(model.variables) if model is not None else []

    def pure(values: list, *arguments: Any) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return function(*arguments)

    compiled = jax.jit(pure, static_argnums=tuple(index + 1 for index in static_argnums))
    return lambda *arguments: compiled([variable.value for variable in variables], *arguments)


def scan(step: Callable, start: Any, inputs: Any) -> Any:
    """Run a step over the leading axis of its inputs, as a compiled loop; for use inside `compile_function`.

    `keras.ops.scan` cannot serve: on TensorFlow its outputs must have the shapes of what is carried.

    Args:
        step: (carried, input) to (carried, outputs); `carried` keeps its structure and shapes, `outputs` is a dict of
            float32 tensors.
        start: what is carried into the first step, nested tensors.
        inputs: [T, ...] tensor.

    Returns:
        Outputs of all steps, a dict of tensors [T, ...].
    """
    if backend_name() == "jax":
        import jax

        return jax.lax.scan(step, start, inputs)[1]
    tensorflow = import_tensorflow()
    length = tensorflow.shape(inputs)[0]
    names: list[str] = []

    def body(index: Any, carried: Any, series: tuple) -> tuple:
        carried, outputs = step(carried, inputs[index])
        names[:] = sorted(outputs)
        arrays = series or tuple(tensorflow.TensorArray("float32", length) for _ in names)
        written = tuple(array.write(index, outputs[name]) for array, name in zip(arrays, names, strict=True))
        return index + 1, carried, written

    # The first step is taken before the loop: it tells which outputs there are.
    first = body(tensorflow.constant(0), start, ())
    _, _, series = tensorflow.while_loop(lambda index, *_: index < length, body, first)
    stacked = {name: array.stack() for name, array in zip(names, series, strict=True)}
    for tensor in stacked.values():
        tensor.set_shape((inputs.shape[0], *tensor.shape[1:]))  # what follows may need the number of steps
    return stacked


def value_and_gradient(function: Callable, argument: int) -> Callable:
    """A function that also returns the gradient by one of its arguments; for use inside `compile_function`.

    Args:
        function: of nested tensors, to values [K]. Row k of the values must depend on row k of the argument alone.
        argument: position of the argument, a tensor with leading axis K.

    Returns:
        (*arguments) to (values [K], gradients of the argument's shape).
    """
    if backend_name() == "jax":
        return _value_and_gradient_jax(function, argument)
    tensorflow = import_tensorflow()

    def both(*arguments: Any) -> tuple[Any, Any]:
        watched = tensorflow.convert_to_tensor(arguments[argument])
        with tensorflow.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(watched)
            values = function(*arguments[:argument], watched, *arguments[argument + 1 :])
        zeros = tensorflow.UnconnectedGradients.ZERO
        return values, tape.gradient(values, watched, unconnected_gradients=zeros)

    return both


def _value_and_gradient_jax(function: Callable, argument: int) -> Callable:
    import jax

    def summed(*arguments: Any) -> tuple[Any, Any]:
        values = function(*arguments)
        return values.sum(), values

    def both(*arguments: Any) -> tuple[Any, Any]:
        (_, values), gradients = jax.value_and_grad(summed, argnums=argument, has_aux=True)(*arguments)
        return values, gradients

    return both


def apart(tensors: Any) -> Any:
    """The same tensors, behind a wall that XLA joins nothing across; for the inside of compiled functions.

    Joined to a sum, a convolution of cuDNN is another kernel: 0.44 instead of 0.24 ms for the last LSTM of 200 futures
    on an H200. Sums over pixels and then over examples become one sum that few of the cores work on.

    Args:
        tensors: nested tensors.
    """
    if backend_name() != "jax":
        return tensors
    import jax

    return jax.lax.optimization_barrier(tensors)


def transposed_convolution(inputs: Any, kernel: Any, stride: int) -> Any:
    """`keras.ops.conv_transpose` with padding "same", with a gradient of the kernel that accelerators are fast at.

    What JAX derives is a convolution over an image dilated with zeros, with a window as large as the image, a form that
    accelerators have no kernel for: a third of a training step of the `seed` network on an H200 was one that must have
    been this. The same sums are the gradient of the strided convolution whose transpose this is, as used here.

    Args:
        inputs: [B, H, W, I].
        kernel: [K, K, O, I].
        stride: of rows and columns.

    Returns:
        [B, H * stride, W * stride, O].
    """
    if backend_name() == "jax":
        return _transposed_convolution_jax(stride)(inputs, kernel)
    from keras import ops

    return ops.conv_transpose(inputs, kernel, strides=stride, padding="same")


@functools.cache
def _transposed_convolution_jax(stride: int) -> Callable:
    import jax
    from keras import ops

    def strided(images: Any, kernel: Any) -> Any:
        names = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(images, kernel, (stride, stride), "SAME", dimension_numbers=names)

    @jax.custom_vjp
    def transposed(inputs: Any, kernel: Any) -> Any:
        return ops.conv_transpose(inputs, kernel, strides=stride, padding="same")

    def backward(saved: tuple[Any, Any], upstream: Any) -> tuple[Any, Any]:
        inputs, kernel = saved
        of_inputs, by_kernel = jax.vjp(lambda each: strided(upstream, each), kernel)
        return of_inputs, by_kernel(inputs)[0]

    transposed.defvjp(lambda inputs, kernel: (transposed(inputs, kernel), (inputs, kernel)), backward)
    return transposed
