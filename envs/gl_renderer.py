"""Pictures by OpenGL, as an alternative to ray casting; needs the full `mujoco` package and a GL library."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from visual_foresight.envs.camera import Camera
from visual_foresight.envs.physics import CONTACT_GROUP, Physics


class GlRenderer:
    """Draws scenes with MuJoCo's OpenGL renderer. Its pixels depend on the driver: data sets should use `RayRenderer`.

    Args:
        camera: the view; its height and width are those of the pictures.

    Raises:
        ImportError: the extra is not installed, or no OpenGL library is found.
    """

    def __init__(self, camera: Camera):
        """See the class."""
        try:
            mujoco.Renderer(mujoco.MjModel.from_xml_string("<mujoco/>"), 8, 8).close()
        except Exception as error:  # what fails depends on the driver: a missing module, library, display or device
            raise ImportError(
                f"renderer='gl' finds no OpenGL ({error}): pip install 'visual-foresight[gl]', set MUJOCO_GL=egl "
                "where there is no display, or use renderer='ray'"
            ) from error
        self.camera = camera
        self._renderer: Any = None
        self._model: mujoco.MjModel | None = None

    def render(self, physics: Physics) -> np.ndarray:
        """Picture `[H, W, 3]` uint8 of a scene."""
        if physics.model is not self._model:
            self.close()
            self._renderer = mujoco.Renderer(physics.model, self.camera.height, self.camera.width)
            self._model = physics.model
        option = mujoco.MjvOption()
        option.geomgroup[:] = 1
        option.geomgroup[CONTACT_GROUP] = 0
        self._renderer.update_scene(physics.data, "view", scene_option=option)
        return self._renderer.render().copy()

    def close(self) -> None:
        """Frees the GL context."""
        if self._renderer is not None:
            self._renderer.close()
        self._renderer = self._model = None
