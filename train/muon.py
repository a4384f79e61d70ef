"""Muon: momentum whose matrices are made orthogonal before they are applied; Adam for everything that is no matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic that brings singular values near 1 (Jordan et al. 2024): steepest at 0, not convergent at 1."""

_NUM_ITERATIONS = 5

_LEAST_SIDE = 16
"""A kernel with a shorter side is left to Adam: it is a list of vectors rather than a matrix."""

_RATE_OF_ADAM = 0.5
"""Learning rate of what Adam trains, as a share of the matrices' own."""

_SIZE_OF_UPDATE = 0.2
"""Root mean square of a matrix's update at learning rate 1, as Adam's usually is (Liu et al. 2025, section 2.2)."""

_DECAY = 1.0
"""Share of a matrix that decays in a step at learning rate 1. Updates never become small: without it matrices grow."""


def matrix_shape(shape: Sequence[int]) -> tuple[int, int] | None:
    """Rows and columns of a kernel as a matrix from all that it reads to its outputs; None for what is no matrix.

    A convolution's `[3, 3, 48, 64]` is `(432, 64)`.
    """
    if len(shape) < 2:
        return None
    rows, columns = math.prod(shape[:-1]), shape[-1]
    return (rows, columns) if min(rows, columns) >= _LEAST_SIDE else None


def orthogonalise(matrix: Any) -> Any:
    """The nearest matrix whose singular values are all alike, roughly.

    Five Newton-Schulz iterations, products alone. A singular value of at least 0.002 of the Frobenius norm comes to lie
    between 0.68 and 1.21; smaller ones grow up to 485 times.

    Args:
        matrix: `[R, C]`, of any scale; zeros stay zeros.
    """
    rows, columns = matrix.shape
    wide = ops.transpose(matrix) if rows > columns else matrix  # the smaller square is what is multiplied
    wide = wide / (ops.sqrt(ops.sum(ops.square(wide))) + 1e-12)
    first, third, fifth = _COEFFICIENTS
    for _ in range(_NUM_ITERATIONS):
        square = ops.matmul(wide, ops.transpose(wide))
        wide = first * wide + ops.matmul(third * square + fifth * ops.matmul(square, square), wide)
    return ops.transpose(wide) if rows > columns else wide


class Muon(keras.optimizers.Optimizer):
    """Muon for kernels, convolutions among them, and Adam for the rest.

    Jordan et al. (2024), "Muon: an optimizer for hidden layers", with the size of updates of Liu et al. (2025,
    arXiv:2502.16982). Every direction of a kernel's momentum is followed equally far, also the weak ones, which Adam
    leaves to the strong. Differs from Keras' own `Muon`: kernels of convolutions are matrices, too, where Keras leaves
    them to Adam; matrices decay by the learning rate itself, where Keras takes 0.004 of it. Vectors, and kernels with
    fewer than 16 inputs or outputs, are trained by Adam (0.9, 0.999, epsilon 1e-8) at half the rate, without decay.

    Args:
        learning_rate: of matrices; their update has the root mean square `0.2 x learning_rate`, about that of Adam's.
        momentum: share of the former gradients that stays.
        **kwargs: of `keras.optimizers.Optimizer`, `global_clipnorm` for one.
    """

    def __init__(self, learning_rate: Any = 0.006, momentum: float = 0.95, **kwargs: Any) -> None:
        """Stores the settings; `build` makes the variables."""
        super().__init__(learning_rate=learning_rate, name="muon", **kwargs)
        self._momentum = momentum
        self._first_moments: list[Any] = []
        self._second_moments: list[Any] = []

    def build(self, variables: list[Any]) -> None:
        """Makes a momentum for each variable, and a second moment for those that Adam trains."""
        if self.built:
            return
        super().build(variables)
        for variable in variables:
            self._first_moments.append(self.add_variable_from_reference(variable, name="momentum"))
            alone = matrix_shape(variable.shape) is None
            second = self.add_variable_from_reference(variable, name="velocity") if alone else None
            self._second_moments.append(second)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """One step of one variable."""
        index = self._get_variable_index(variable)
        first, second = self._first_moments[index], self._second_moments[index]
        rate, gradient = ops.cast(learning_rate, variable.dtype), ops.cast(gradient, variable.dtype)
        if second is None:
            update = self._matrix_update(gradient, variable.shape, first) + _DECAY * variable
        else:
            update = _RATE_OF_ADAM * self._adam_update(gradient, first, second)
        self.assign_sub(variable, rate * update)

    def _matrix_update(self, gradient: Any, shape: Sequence[int], first: Any) -> Any:
        share = 1 - self._momentum
        self.assign(first, self._momentum * first + share * gradient)
        ahead = self._momentum * first + share * gradient  # Nesterov's
        matrix = ops.reshape(ahead, (-1, shape[-1]))
        return ops.reshape(_SIZE_OF_UPDATE * math.sqrt(max(matrix.shape)) * orthogonalise(matrix), shape)

    def _adam_update(self, gradient: Any, first: Any, second: Any) -> Any:
        step = ops.cast(self.iterations + 1, gradient.dtype)
        self.assign(first, 0.9 * first + 0.1 * gradient)
        self.assign(second, 0.999 * second + 0.001 * ops.square(gradient))
        bias = ops.sqrt(1 - ops.power(0.999, step)) / (1 - ops.power(0.9, step))
        return bias * first / (ops.sqrt(second) + 1e-8)

    def get_config(self) -> dict[str, Any]:
        """The settings."""
        return {**super().get_config(), "momentum": self._momentum}
