"""Gradient steps that repeat to the last bit on a CPU."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from visual_foresight.backend import backend_name, device_kind


@contextmanager
def repeatable_execution(wanted: bool = True) -> Iterator[None]:
    """Runs compiled TensorFlow functions one operation after the other, in a fixed order; each still uses all cores.

    TensorFlow adds up the gradients of a tensor that is used three times or more into whichever buffer happens to be
    free (`AddNOp`), so the order of summation, and the last bit of the sum, depends on which of its threads was first;
    training then amplifies the bit. `tf.config.experimental.enable_op_determinism` does not cover this. A fixed order
    does; it takes the same processor time, and 2 to 9 % more time with two cores, which then wait for each other at
    small operations. The memory optimiser is left out, because it rewrites large sums into variables, which that
    executor does not know.

    There is no public switch for it. Without the internal ones, training works and repeats to rounding only. On JAX and
    on accelerators nothing is changed.

    Args:
        wanted: false changes nothing.
    """
    if not wanted or backend_name() != "tensorflow" or device_kind() != "cpu":
        yield
        return
    try:
        from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig
        from tensorflow.python.eager.context import FunctionCallOptions, context

        running = context()
        before = running.function_call_options
        settings = running.config
        settings.graph_options.rewrite_options.memory_optimization = RewriterConfig.NO_MEM_OPT
        running.function_call_options = FunctionCallOptions("SINGLE_THREADED_EXECUTOR", settings)
    except (ImportError, AttributeError, TypeError):
        yield
        return
    try:
        yield
    finally:
        running.function_call_options = before


@contextmanager
def fresh_layer_names() -> Iterator[None]:
    """Numbers automatic layer names from 0 inside the block, as in a new process; afterwards as before.

    TensorFlow's graph optimiser orders sums by the names of operations: `conv2d` against `conv2d_22` is enough to round
    differently. A predictor trained after others in one process would not repeat one trained in a process of its own.

    Keras has no public switch for it either; without the internal one names go on counting.
    """
    try:
        from keras.src.backend.common.global_state import get_global_attribute, set_global_attribute
    except ImportError:
        yield
        return
    before = get_global_attribute("object_name_uids")
    set_global_attribute("object_name_uids", defaultdict(int))
    try:
        yield
    finally:
        set_global_attribute("object_name_uids", before)
