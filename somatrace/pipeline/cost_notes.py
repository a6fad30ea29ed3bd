"""Note in the cost ledger what the spans of a pipeline have cost, sampled or not; on its thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.trace.status import StatusCode

from somatrace import semconv
from somatrace.costs.ledger.cost_ledger import CostLedger
from somatrace.costs.ledger.ledger_entry import may_be_billed
from somatrace.delivery.outgoing_span import EncodedSpan, OutgoingSpan
from somatrace.pipeline.observation_types import TYPE_KEYS
from somatrace.runtime.fail_safe import fail_safe

#: The codes of OTLP.
_CODES: Final = {StatusCode.UNSET: 0, StatusCode.OK: 1, StatusCode.ERROR: 2}
#: From these the guard derives a type; the others say it themselves.
_DERIVED: Final = frozenset(TYPE_KEYS) - {semconv.OBSERVATION_TYPE, semconv.OPERATION}


class CostNotes:
    """Keeps failures of the ledger from the spans."""

    def __init__(self, ledger: CostLedger) -> None:
        self._ledger = ledger

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the ledger cannot be written, and what is missing in it."""
        return self._ledger.problems

    @staticmethod
    def reads(attributes: Mapping[str, Any]) -> bool:
        """Whether an ended span with these attributes, not guarded yet, may have cost something."""
        return may_be_billed(attributes) or not _DERIVED.isdisjoint(attributes)

    def note(self, made: OutgoingSpan | EncodedSpan) -> None:
        """Note an ended span, guarded; one of which no copy was made has cost nothing."""
        span = made.copy if isinstance(made, EncodedSpan) else made
        if span is None:
            return
        with fail_safe("cost ledger"):
            service = str(span.resource.attributes.get(semconv.SERVICE_NAME, ""))
            attributes = {**span.own, **span.tagged}
            self._ledger.add(attributes, service, _CODES[span._status.status_code], span._start_time or 0)

    def write(self) -> float | None:
        """Write the notes down; returns the seconds until there is more to do, or None."""
        with fail_safe("cost ledger"):
            return self._ledger.write()
        return None

    def close(self) -> None:
        """Write down the rest."""
        with fail_safe("cost ledger"):
            self._ledger.close()

    def forget(self) -> None:
        """Begin anew in a forked child."""
        with fail_safe("cost ledger"):
            self._ledger.forget()
