"""Modules beside the tests (`golden_recipe`, `slow_numpy_predictor`) are imported by name."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
