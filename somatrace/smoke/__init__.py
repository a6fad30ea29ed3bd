"""`somatrace smoke`: one real trace through the front door, read back and checked.

`run` never raises for what a target, a setting or a child process does: each outcome is a `Report` with
an exit code of its own (docs/troubleshooting.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from somatrace.smoke.report import SmokeReport
    from somatrace.smoke.runner import SmokeOptions, run

__all__ = ["SmokeOptions", "SmokeReport", "run"]


def __getattr__(name: str) -> object:
    # late: the child program is in this package too, and needs none of it
    if name == "SmokeReport":
        from somatrace.smoke.report import SmokeReport

        return SmokeReport
    if name in ("SmokeOptions", "run"):
        from somatrace.smoke import runner

        return getattr(runner, name)
    raise AttributeError(f"module 'somatrace.smoke' has no attribute {name!r}")
