"""`somatrace smoke`: send one real trace through the public API, read it back and check it.

`run` never raises for a fault of a target, a setting or a child process: it returns a `SmokeReport`, and each
outcome has its own exit code (docs/troubleshooting.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from somatrace.smoke.report import SmokeReport
    from somatrace.smoke.runner import SmokeOptions, run

__all__ = ["SmokeOptions", "SmokeReport", "run"]


def __getattr__(name: str) -> object:
    # lazy: the child program is in this package too and needs none of this
    if name == "SmokeReport":
        from somatrace.smoke.report import SmokeReport

        return SmokeReport
    if name in ("SmokeOptions", "run"):
        from somatrace.smoke import runner

        return getattr(runner, name)
    raise AttributeError(f"module 'somatrace.smoke' has no attribute {name!r}")
