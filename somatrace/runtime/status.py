"""What `status()` answers with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

#: Seconds that the end of a provider or of the process may take, whatever any target does.
EXIT_LIMIT: Final = 1.0


@dataclass(frozen=True)
class Status:
    """How tracing stands in this process. Holds no secrets: it can be printed or served as it is.

    `available` is True while spans are taken and the target takes them. Latencies are seconds from
    the encoding of a batch to the target's answer; `throughput` is delivered spans per second since
    the start; `kept_share` is below 1 while tracing adds more to workflows than SOMATRACE_MAX_LATENCY_MS.
    `lost` counts spans by reason; `instruments` says of each library what its
    instrumentation does; `unheard` counts starts and events that listeners were not told of, because the
    queue was half full; `ignored` counts headers of others that were not believed, by reason;
    `unprotected` names providers that the content guard does not cover.
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
    success_rate: float = 1.0
    latency_p50: float | None = None
    latency_p95: float | None = None
    throughput: float = 0.0
    kept_share: float = 1.0
    unknown_tenant: int = 0
    resent_ambiguous: int = 0
    guard_faults: int = 0
    unheard: int = 0
    ignored: Mapping[str, int] = field(default_factory=dict)
    last_error: str = ""
    problems: tuple[str, ...] = ()
    instruments: Mapping[str, str] = field(default_factory=dict)
    unprotected: tuple[str, ...] = ()
