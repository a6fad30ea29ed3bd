"""Tags and trace context between processes: `outgoing` and `incoming`."""

from __future__ import annotations

from somatrace.config import Settings


def configure(settings: Settings) -> None:
    """Take over whom to trust and whom to tell."""
