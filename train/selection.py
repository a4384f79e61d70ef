"""Choosing checkpoints by what a planner would lose with them: the regret on a bank of labelled sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from visual_foresight.bank import Bank, bank_regret
from visual_foresight.simulator import LearnedSimulator

if TYPE_CHECKING:
    from visual_foresight.predictor.predictor import VideoPredictor

NUM_SCENES, NUM_SEQUENCES = 16, 32
"""The part of a bank that a validation looks at: for a predictor that leaps, seconds."""


class RegretJudge:
    """Measures a predictor while it is trained; compiled once.

    Args:
        predictor: the one that is trained.
        bank: a file, or the name of a shipped bank.

    Raises:
        FileNotFoundError: no such bank.
        ValueError: the bank is damaged, or of other sizes than the predictor.
    """

    def __init__(self, predictor: VideoPredictor, bank: str) -> None:
        """Read the bank, and refuse one that does not fit before anything is trained."""
        whole = Bank.load(bank)
        self._bank = whole.smaller(min(NUM_SCENES, whole.num_scenes), min(NUM_SEQUENCES, whole.num_sequences))
        self._bank.require_match(predictor)
        self._simulator = LearnedSimulator(predictor)

    def __call__(self) -> dict[str, float]:
        """The "regret" [px] after 15 control steps, and the "rank_correlation" unless nothing could be ranked."""
        figures = bank_regret(self._simulator.predictor, self._bank, simulator=self._simulator)
        return {name: figures[name] for name in ("regret", "rank_correlation") if figures[name] is not None}
