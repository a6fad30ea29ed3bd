"""The configured trust rules, and the counts of ignored headers."""

from __future__ import annotations

import os
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Final

from somatrace.config import Settings
from somatrace.propagation.allowed_hosts import matches
from somatrace.propagation.signing import SigningKey, keys
from somatrace.propagation.trusted_networks import Network, networks
from somatrace.runtime.internal_hosts import is_internal


@dataclass(frozen=True)
class TrustRules:
    """Parsed settings. The defaults trust no caller, and send only to this machine and the cluster."""

    trusted: tuple[Network, ...] = ()
    keys: tuple[SigningKey, ...] = ()
    hosts: tuple[str, ...] = ()
    edge: bool = False
    trace: bool = True
    baggage: bool = True
    #: Share of untrusted callers' traces to record if the sampler follows its parent.
    rate: float = 1.0
    #: Random, so that no caller knows which trace ids are recorded.
    sampling_secret: bytes = b""


class _State:
    """The only mutable state of this package."""

    def __init__(self) -> None:
        self.rules = TrustRules()
        self.lock = threading.Lock()
        self.ignored: Counter[str] = Counter()


_state: Final = _State()


def configure(settings: Settings) -> None:
    """Apply the trust rules of `settings`."""
    rates = {"always_on": 1.0, "always_off": 0.0, "traceidratio": settings.sample_rate}
    _state.rules = TrustRules(
        trusted=networks(settings.trust),
        keys=keys(settings.trust_keys),
        hosts=settings.propagate_to,
        edge=settings.edge,
        trace="tracecontext" in settings.propagators,
        baggage="baggage" in settings.propagators,
        rate=rates.get(settings.sampler.removeprefix("parentbased_"), 1.0),
        sampling_secret=os.urandom(16),
    )


def rules() -> TrustRules:
    """The current trust rules."""
    return _state.rules


def may_carry(host: str, port: int | None = None) -> bool:
    """Whether tags and trace context may go to `host`: loopback, cluster-internal, or on the list."""
    return is_internal(host) or any(matches(pattern, host, port) for pattern in _state.rules.hosts)


def ignore(reason: str) -> None:
    """Count a header that was ignored on the way in or out, by reason."""
    with _state.lock:
        _state.ignored[reason] += 1


def ignored() -> dict[str, int]:
    """Counts of ignored headers by reason, without values."""
    with _state.lock:
        return dict(_state.ignored)
