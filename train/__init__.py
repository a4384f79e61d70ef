"""Part of Visual Foresight."""
