"""Visual Foresight: learn what the camera will see next, then choose actions with that prediction.

Importing this package is cheap: neither TensorFlow nor MuJoCo is loaded before a name that needs it is used.
It registers the gymnasium environments `VisualForesight/Push-v0` and `VisualForesight/LearnedPush-v0`.
"""

import importlib
from typing import TYPE_CHECKING, Any

from visual_foresight import quiet_start
from visual_foresight.envs import registration

__version__ = "0.1.0"

# Public name -> the module that owns it. The modules load on first use, because some of them need TensorFlow.
_OWNERS = {
    "Episode": "visual_foresight.episode",
    "LearnedSimulator": "visual_foresight.simulator",
    "PredictorConfig": "visual_foresight.predictor.config",
    "Rollout": "visual_foresight.rollout",
    "Statistics": "visual_foresight.statistics",
    "VideoPredictor": "visual_foresight.predictor.predictor",
    "read_episodes": "visual_foresight.formats",
    "write_episodes": "visual_foresight.formats",
}

__all__ = [
    "Episode",
    "LearnedSimulator",
    "PredictorConfig",
    "Rollout",
    "Statistics",
    "VideoPredictor",
    "__version__",
    "read_episodes",
    "write_episodes",
]

if TYPE_CHECKING:
    from visual_foresight.episode import Episode
    from visual_foresight.formats import read_episodes, write_episodes
    from visual_foresight.predictor.config import PredictorConfig
    from visual_foresight.predictor.predictor import VideoPredictor
    from visual_foresight.rollout import Rollout
    from visual_foresight.simulator import LearnedSimulator
    from visual_foresight.statistics import Statistics


def __getattr__(name: str) -> Any:
    """Load the module that owns a public name when the name is first used."""
    if name not in _OWNERS:
        raise AttributeError(f"module 'visual_foresight' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(importlib.import_module(_OWNERS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the names of the module, those not loaded yet included."""
    return sorted(set(globals()) | set(__all__))


quiet_start.install()
registration.register()  # by name only: MuJoCo and the network load when an environment is made
