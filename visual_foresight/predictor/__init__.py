"""The predictor: backbone + transformation + compositor, and the files it is kept in.

Importing this package is cheap; Keras and its backend load when one of the model's names is first used.
"""

from importlib import import_module
from typing import Any

from visual_foresight import backend

_EXPORTS = {
    "BACKBONES": "backbone",
    "HeadOutputs": "backbone",
    "Prediction": "predictor",
    "PredictorConfig": "config",
    "PRESETS": "presets",
    "StepPrediction": "predictor",
    "VideoPredictor": "predictor",
}

__all__ = sorted(_EXPORTS)

# Every module below imports Keras, which imports its backend: the silence has to be arranged before that.
backend.silence_start_up()


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)


def __dir__() -> list[str]:
    return __all__
