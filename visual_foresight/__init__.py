"""Visual Foresight: robot planning with a predictive model."""

__version__ = "0.1.0"
