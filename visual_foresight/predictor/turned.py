"""Kernels of convolutions that are applied at every step of a sequence, with a gradient that oneDNN computes fast.

Gradients of inputs run at the peak of the processor, gradients of kernels at half to three quarters of it. In bfloat16
on two cores these took 16 to 37 % less time with both arrays in each other's place: the more numerous channels, those
of the gates, where the inputs are expected. What comes out is the gradient turned by 180 degrees, with its channels
exchanged. It is summed over the sequence as it is, and turned back once; see docs/seed_speed.md.
"""

from typing import Any, NamedTuple

from keras import ops

from visual_foresight import backend
from visual_foresight.predictor.fusing import fuse, fuses


class SequenceKernel(NamedTuple):
    """A kernel for all steps of a sequence.

    The last two are places where the steps leave their gradients: nobody reads their values.

    Attributes:
        value: [K, K, C, F] in the compute type; no gradient flows through it.
        turned: [K, K, F, C], or None where gradients are those of the backend, through `value`.
        turned_first: [K, K, F, C'], for the first step that has C' of the C inputs; or None.
    """

    value: Any
    turned: Any = None
    turned_first: Any = None


def for_sequence(kernel: Any, num_first: int, dtype: str) -> SequenceKernel:
    """Prepare a kernel once for all steps.

    Args:
        kernel: [K, K, C, F], the variable.
        num_first: so many of its inputs there are at the first step.
        dtype: the compute type. In float32 nothing is turned: there it gains little.
    """
    if dtype == "float32" or not fuses():
        return SequenceKernel(ops.cast(kernel, dtype))

    @ops.custom_gradient
    def places(variable: Any) -> tuple[Any, Any]:
        def gradient(*arguments: Any, upstream: Any = None) -> Any:
            return _turn_back(*(arguments if upstream is None else upstream))

        size, _, inputs, filters = variable.shape
        zero = ops.zeros((), dtype)
        whole = ops.broadcast_to(zero, (size, size, filters, inputs))
        return (whole, ops.broadcast_to(zero, (size, size, filters, num_first))), gradient

    kernel = ops.convert_to_tensor(kernel)
    return SequenceKernel(ops.cast(ops.stop_gradient(kernel), dtype), *places(kernel))


@fuse
def _turn_back(turned: Any, turned_first: Any) -> Any:
    """Gradients [K, K, F, C] and [K, K, F, C'] to that of the kernel, [K, K, C, F] float32."""
    exchanged = (ops.transpose(ops.flip(gradient, (0, 1)), (0, 1, 3, 2)) for gradient in (turned, turned_first))
    whole, first = (ops.cast(gradient, "float32") for gradient in exchanged)
    num_first = turned_first.shape[-1]
    return ops.concatenate([whole[:, :, :num_first] + first, whole[:, :, num_first:]], axis=2)


def convolve(inputs: Any, kernel: SequenceKernel, bias: Any) -> Any:
    """Convolve with zero padding and add the bias.

    Args:
        inputs: [B, H, W, C], or [B, H, W, C'] at the first step.
        kernel: from `for_sequence`.
        bias: [F], of the type of the inputs; or None where nothing is turned.

    Returns:
        [B, H, W, F].
    """
    value = kernel.value[:, :, : inputs.shape[-1]]
    if kernel.turned is None:
        gates = ops.conv(inputs, value, padding="same")
        return gates if bias is None else gates + bias
    raw = backend.import_tensorflow().raw_ops
    options = {"strides": [1, 1, 1, 1], "padding": "SAME"}

    @ops.custom_gradient
    def apply(inputs: Any, bias: Any, turned: Any) -> tuple[Any, Any]:
        def gradient(*arguments: Any, upstream: Any = None) -> tuple[Any, Any, Any]:
            upstream = arguments[0] if upstream is None else upstream  # [B, H, W, F]
            of_inputs = raw.Conv2DBackpropInput(
                input_sizes=ops.shape(inputs), filter=value, out_backprop=upstream, **options
            )
            of_kernel = raw.Conv2DBackpropFilter(
                input=upstream, filter_sizes=turned.shape, out_backprop=inputs, **options
            )
            return of_inputs, ops.sum(upstream, axis=(0, 1, 2)), of_kernel

        return ops.conv(inputs, value, padding="same") + bias, gradient

    return apply(inputs, bias, kernel.turned_first if inputs.shape[-1] < kernel.value.shape[2] else kernel.turned)
