"""The golden cases: weights by their recipe, inputs, and the original's numbers."""

import json
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "golden"
CASES = json.loads((FOLDER / "cases.json").read_text())
PREFIX = "model/"


def make_weights(case: str) -> dict[str, np.ndarray]:
    """Each variable of a case under its original name."""
    offset = CASES[case]["offset"]
    weights = {}
    for index, (name, shape, kind) in enumerate(CASES[case]["variables"]):
        noise = np.random.RandomState(offset + index).standard_normal(shape)
        if kind == "kernel":
            noise *= 0.5 / np.sqrt(np.prod(shape[:-1]))
        elif kind == "transposed kernel":
            noise *= 0.5 / np.sqrt(shape[0] * shape[1] * shape[3])
        else:
            noise *= 0.05
            if kind == "gamma":
                noise += 1.0
        weights[name] = noise.astype(np.float32)
    return weights


def make_predictor(case: str, **options):
    """A predictor with the weights of a case."""
    from visual_foresight.predictor import PredictorConfig, VideoPredictor

    original = CASES[case]["hyperparameters"]
    config = PredictorConfig(
        transformation=original["model"],
        num_masks=original["num_masks"],
        use_state=bool(original["use_state"]),
        context_frames=original["context_frames"],
    )
    predictor = VideoPredictor(config, **options)
    variables = predictor.backbone.original_variables()
    for name, values in make_weights(case).items():
        variables[name.removeprefix(PREFIX)].assign(values)
    return predictor


def read_inputs() -> dict[str, np.ndarray]:
    """Frames [2, 6, 64, 64, 3], actions and states [2, 6, 5]: the same for all cases."""
    with np.load(FOLDER / "inputs.npz") as file:
        return {"frames": file["images"], "actions": file["actions"], "states": file["states"]}


def read_values(case: str) -> dict[str, np.ndarray]:
    """What the original computed."""
    with np.load(FOLDER / f"{case}.npz") as file:
        return {name: file[name] for name in file.files}


def read_units(operation: str) -> dict[str, np.ndarray]:
    """The arrays of one operation of `units.npz`."""
    with np.load(FOLDER / "units.npz") as file:
        return {
            name.removeprefix(operation + "."): file[name] for name in file.files if name.startswith(operation + ".")
        }
