"""The content guard: what of a span may leave the process. Plain Python, importable on its own."""

from __future__ import annotations

from somatrace.guard.wall import Guard, Mode, Removed

__all__ = ["Guard", "Mode", "Removed"]
