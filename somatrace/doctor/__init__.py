"""`somatrace doctor`: diagnose the effective settings, the target, installed packages and one service.

`examine` reports faults as findings instead of raising; docs/troubleshooting.md explains each finding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from somatrace.doctor.diagnosis import Diagnosis
    from somatrace.doctor.examination import DoctorOptions, examine

__all__ = ["Diagnosis", "DoctorOptions", "examine"]


def __getattr__(name: str) -> object:
    # lazy: the child program is in this package too, and must import little before the service does
    if name == "Diagnosis":
        from somatrace.doctor.diagnosis import Diagnosis

        return Diagnosis
    if name in ("DoctorOptions", "examine"):
        from somatrace.doctor import examination

        return getattr(examination, name)
    raise AttributeError(f"module 'somatrace.doctor' has no attribute {name!r}")
