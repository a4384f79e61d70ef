"""Training: configuration, scheduled sampling, losses and the fit. Importing it loads neither Keras nor TensorFlow."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from visual_foresight.train.config import TrainingConfig
    from visual_foresight.train.run import TrainingDivergedError
    from visual_foresight.train.sampling import ground_truth_count, ground_truth_mask
    from visual_foresight.train.trainer import TrainingResult, fit

_OWNERS = {
    "TrainingConfig": "config",
    "TrainingDivergedError": "run",
    "TrainingResult": "trainer",
    "fit": "trainer",
    "ground_truth_count": "sampling",
    "ground_truth_mask": "sampling",
}

__all__ = [
    "TrainingConfig",
    "TrainingDivergedError",
    "TrainingResult",
    "fit",
    "ground_truth_count",
    "ground_truth_mask",
]


def __getattr__(name: str) -> Any:
    """Loads a public name when it is first used."""
    if name not in _OWNERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}.{_OWNERS[name]}"), name)


def __dir__() -> list[str]:
    """The public names, for completion."""
    return sorted({*globals(), *__all__})
