"""Whom to trust and whom to tell, as the settings say; and the counts of what was ignored."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from typing import Final

from somatrace.config import Settings
from somatrace.propagation.allowed_hosts import is_internal, matches
from somatrace.propagation.signing import SigningKey, keys
from somatrace.propagation.trusted_networks import Network, networks


@dataclass(frozen=True)
class TrustRules:
    """The settings, parsed once. The defaults trust nobody and tell only the machine and the cluster."""

    trusted: tuple[Network, ...] = ()
    keys: tuple[SigningKey, ...] = ()
    hosts: tuple[str, ...] = ()
    edge: bool = False
    trace: bool = True
    baggage: bool = True
    #: Share of the traces of untrusted callers that is recorded where the sampler follows its parent.
    rate: float = 1.0


class _State:
    """The one mutable place of this package."""

    def __init__(self) -> None:
        self.rules = TrustRules()
        self.lock = threading.Lock()
        self.ignored: Counter[str] = Counter()


_state: Final = _State()


def configure(settings: Settings) -> None:
    """Take over whom to trust and whom to tell."""
    rates = {"always_on": 1.0, "always_off": 0.0, "traceidratio": settings.sample_rate}
    _state.rules = TrustRules(
        trusted=networks(settings.trust),
        keys=keys(settings.trust_keys),
        hosts=settings.propagate_to,
        edge=settings.edge,
        trace="tracecontext" in settings.propagators,
        baggage="baggage" in settings.propagators,
        rate=rates.get(settings.sampler.removeprefix("parentbased_"), 1.0),
    )


def rules() -> TrustRules:
    """Those in force."""
    return _state.rules


def may_carry(host: str, port: int | None = None) -> bool:
    """Whether tags and trace context may go to `host`: loopback, cluster-internal, or on the list."""
    return is_internal(host) or any(matches(pattern, host, port) for pattern in _state.rules.hosts)


def ignore(what: str) -> None:
    """Count one thing that came in or would have gone out, and was left aside."""
    with _state.lock:
        _state.ignored[what] += 1


def ignored() -> dict[str, int]:
    """How often what was ignored, by reason; no values."""
    with _state.lock:
        return dict(_state.ignored)
