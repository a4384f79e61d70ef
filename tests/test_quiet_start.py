"""Silence at the start of TensorFlow loses no message that matters."""

import os
import sys

import pytest

from visual_foresight.quiet_start import held_standard_error, without_chatter

CHATTER = (
    b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
    b"I0000 00:00:1795364091.471307    7495 port.cc:153] oneDNN custom operations are on.\n"
    b"2026-01-02 10:11:12.123456: I tensorflow/core/platform/cpu_feature_guard.cc:210] This TensorFlow binary\n"
    b"To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow\n"
)


def test_only_chatter_is_dropped():
    """Informational lines go; errors, tracebacks and the user's own lines stay, byte for byte."""
    kept = b"E0000 00:00:1795364250.001661 7866 cuda.cc:52] out of memory\nTraceback (most recent call last):\nmine\n"
    assert without_chatter(CHATTER + kept) == kept
    assert without_chatter(kept + CHATTER + kept) == kept + kept


def test_held_lines_come_out_after_the_block(capfd):
    """What is not chatter reaches standard error, also when the block fails."""
    with pytest.raises(RuntimeError, match="broken"), held_standard_error():
        os.write(2, CHATTER)
        os.write(2, b"a real warning\n")
        print("from Python", file=sys.stderr)
        raise RuntimeError("broken")
    error = capfd.readouterr().err
    assert "a real warning" in error
    assert "oneDNN" not in error
