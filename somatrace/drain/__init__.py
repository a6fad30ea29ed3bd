"""`somatrace drain`: send or export the spans that wait on disk, of every service of a data directory."""

from somatrace.drain.drain_steps import DrainError, DrainOptions, run

__all__ = ["DrainError", "DrainOptions", "run"]
