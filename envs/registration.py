"""Registers the environments with gymnasium, by name only: neither MuJoCo nor the network is imported before `make`."""

from __future__ import annotations

import gymnasium

PUSH_ID = "VisualForesight/Push-v0"
LEARNED_PUSH_ID = "VisualForesight/LearnedPush-v0"
MAX_EPISODE_STEPS = 100


def register() -> None:
    """Registers `VisualForesight/Push-v0` and `VisualForesight/LearnedPush-v0`; calling it again changes nothing."""
    if PUSH_ID not in gymnasium.registry:
        gymnasium.register(PUSH_ID, "visual_foresight.envs.push:PushEnv", max_episode_steps=MAX_EPISODE_STEPS)
    if LEARNED_PUSH_ID not in gymnasium.registry:
        gymnasium.register(
            LEARNED_PUSH_ID,
            "visual_foresight.envs.learned:LearnedPushEnv",
            vector_entry_point="visual_foresight.envs.learned:LearnedPushVectorEnv",
            max_episode_steps=MAX_EPISODE_STEPS,
        )
