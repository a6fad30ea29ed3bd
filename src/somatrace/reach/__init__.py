"""Whether a target answers, and if not, what is wrong: for the commands, never in a service's own path."""

from __future__ import annotations

from somatrace.reach.bounded import Overdue, bounded
from somatrace.reach.exchange import Exchange, Failure, Fault, exchange
from somatrace.reach.probing import Probe, fault_of, probe

__all__ = [
    "Exchange",
    "Failure",
    "Fault",
    "Overdue",
    "Probe",
    "bounded",
    "exchange",
    "fault_of",
    "probe",
]
