"""Many arrays as one, and back."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from visual_foresight.packing import pack, split, unpack

ARRAYS = st.lists(
    st.tuples(st.lists(st.integers(0, 3), max_size=3), st.sampled_from(("float32", "float64", "int32", "bool"))),
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(forms=ARRAYS)
def test_what_was_packed_comes_out(forms):
    """In its order and shape; floats as float32, everything else as it was."""
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 100, shape).astype(dtype) for shape, dtype in forms]
    form, one, others = pack(arrays)
    assert one.dtype == np.float32 and one.ndim == 1
    hash(form)  # compiled functions are kept by it
    for convert in (lambda array: array, ops.convert_to_tensor):
        found = unpack(form, convert(one), others)
        assert len(found) == len(arrays)
        for value, array in zip(found, arrays, strict=True):
            expected = array.astype(np.float32) if array.dtype.kind == "f" else array
            assert tuple(value.shape) == array.shape
            np.testing.assert_array_equal(np.asarray(value), expected)


def test_a_row_is_cut_into_shapes():
    """Scalars and empty arrays are shapes, too."""
    scalar, empty, matrix = split(np.arange(5.0), [(), (0, 3), (2, 2)])
    assert scalar == 0.0 and empty.shape == (0, 3)
    np.testing.assert_array_equal(matrix, [[1, 2], [3, 4]])
