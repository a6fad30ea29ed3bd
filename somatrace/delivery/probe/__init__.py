"""Check whether a target accepts traces and diagnose why not. Used by commands only, never in services."""

from __future__ import annotations

from somatrace.delivery.probe.exchange import MAX_BODY, Exchange, Failure, exchange
from somatrace.delivery.probe.probe import Probe, probe
from somatrace.delivery.probe.time_limit import Overdue, bounded
from somatrace.delivery.send_result import Fault

__all__ = [
    "MAX_BODY",
    "Exchange",
    "Failure",
    "Fault",
    "Overdue",
    "Probe",
    "bounded",
    "exchange",
    "probe",
]
