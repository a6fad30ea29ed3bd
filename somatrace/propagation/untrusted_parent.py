"""The parent span of a trace that an untrusted caller claims: joined, without influence on sampling."""

from __future__ import annotations

from typing import Final

from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, TraceFlags

from somatrace.propagation.trust import TrustRules

_RATIO_BITS: Final = (1 << 64) - 1
#: The list member with which consistent samplers pass on thresholds and random values (`th`, `rv`).
_SAMPLING_STATE: Final = "ot"


def untrusted_parent(claimed: SpanContext, current: TrustRules, *, trusts_others: bool) -> Span:
    """The parent with our own decision as its sampling flag.

    `trusts_others` says that this service trusts some callers: any other one is an outsider, and its choice
    of the trace id must not decide. Where nobody is trusted, the callers may be services of the same program.
    They agree if all decide by the trace id, as TraceIdRatioBased does.
    """
    position = _secret_position(claimed, current) if trusts_others else claimed.trace_id & _RATIO_BITS
    sampled = position < round(current.rate * (_RATIO_BITS + 1))
    flags = claimed.trace_flags | TraceFlags.SAMPLED if sampled else claimed.trace_flags & ~TraceFlags.SAMPLED
    return NonRecordingSpan(
        SpanContext(
            claimed.trace_id,
            claimed.span_id,
            is_remote=True,
            trace_flags=TraceFlags(flags),
            trace_state=claimed.trace_state.delete(_SAMPLING_STATE)
            if _SAMPLING_STATE in claimed.trace_state
            else claimed.trace_state,
        )
    )


def _secret_position(claimed: SpanContext, current: TrustRules) -> int:
    """Where among all traces this one stands: the same for each request of it, and unknown to its caller."""
    import hashlib  # loads OpenSSL: only where callers are trusted

    trace_id = claimed.trace_id.to_bytes(16, "big")
    digest = hashlib.blake2b(trace_id, key=current.sampling_secret, digest_size=8).digest()
    return int.from_bytes(digest, "big")
