"""`Status`: the result of `status()`, and what it says of each tenant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class TenantSpans:
    """The spans of one tenant in this process, from the moment at which the worker has taken them.

    `ended` + `taken_over` = `waiting` + `delivered` + `left` + the sum of `lost`.
    """

    ended: int = 0
    taken_over: int = 0
    waiting: int = 0
    delivered: int = 0
    left: int = 0
    lost: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Status:
    """The state of tracing in this process. Contains no secrets: it can be printed or served unchanged.

    `available` is True while spans are accepted and delivered. Latencies are in seconds, from the encoding
    of a batch to the target's response; `throughput` is delivered spans per second since the start;
    `kept_share` is below 1 while tracing adds more to workflows than SOMATRACE_MAX_LATENCY_MS allows.
    `lost` counts spans by reason, of which those of "dead_letter" are kept in a file; `evicted` counts
    delivered spans, of any process, that this one deleted unread to keep the local store within its limits,
    by limit: "size" or "age"; `instruments` describes the instrumentation of each library; `on_disk` is the
    part of `queued_spans` that survives the process, `taken_over` counts spans that an earlier process of the
    service had left on disk, `left` those that this one left there at its end; `tenants` has these counts for
    each tenant, and those of the 257th and later ones together as "others"; `content_removed` counts spans
    that wait without their content because the disk's limit was reached; `unclean_stops` counts earlier
    processes that were killed or crashed, and whose files this one has taken over; `unpriced` counts
    model calls whose price is unknown, by model; `unheard` counts span starts and events not passed to
    listeners because the queue was half full; `ignored` counts incoming and outgoing headers that were
    ignored, by reason; `unprotected` names tracer providers that the content guard does not cover.
    `lean_spans` is False if spans are the SDK's own, which cost several times as much: with an SDK that
    somatrace does not know, or a tracer provider that the program set first.
    """

    enabled: bool
    available: bool
    service: str = ""
    target: str = ""
    queued_spans: int = 0
    queued_bytes: int = 0
    created: int = 0
    delivered: int = 0
    lost: Mapping[str, int] = field(default_factory=dict)
    evicted: Mapping[str, int] = field(default_factory=dict)
    on_disk: int = 0
    taken_over: int = 0
    left: int = 0
    tenants: Mapping[str, TenantSpans] = field(default_factory=dict)
    content_removed: int = 0
    unclean_stops: int = 0
    success_rate: float = 1.0
    latency_p50: float | None = None
    latency_p95: float | None = None
    throughput: float = 0.0
    kept_share: float = 1.0
    unknown_tenant: int = 0
    unpriced: Mapping[str, int] = field(default_factory=dict)
    resent_ambiguous: int = 0
    guard_faults: int = 0
    unheard: int = 0
    ignored: Mapping[str, int] = field(default_factory=dict)
    last_error: str = ""
    problems: tuple[str, ...] = ()
    instruments: Mapping[str, str] = field(default_factory=dict)
    unprotected: tuple[str, ...] = ()
    lean_spans: bool = True
