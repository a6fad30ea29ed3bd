"""Ask a target whether it accepts traces, by an export without spans, which stores nothing."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import SplitResult, urlsplit, urlunsplit

from somatrace import semconv
from somatrace.config import Target
from somatrace.delivery.probe.exchange import Exchange, Failure, connect, exchange
from somatrace.delivery.probe.time_limit import Overdue, bounded
from somatrace.delivery.send_result import Fault
from somatrace.delivery.status_rules import TAKES_EXPORTS, http_rule
from somatrace.runtime.clock import clock

#: Paths that accept OTLP: a collector's and Langfuse's.
PATHS: Final = ("/v1/traces", semconv.LANGFUSE_OTLP_PATH)


@dataclass(frozen=True)
class Probe:
    """Result of a probe. `fault` is None if the target takes exports; `message` describes the answer.

    `better` is a URL on the same host that accepts exports if the configured one does not.
    """

    fault: Fault | None
    message: str
    seconds: float = 0.0
    better: str = ""
    #: It rejects the export without spans, as some do that accept others. Without spans nobody knows.
    rejects: bool = False


def probe(target: Target, timeout: float) -> Probe:
    """Probe a network target within `timeout` seconds. Never raises for target errors."""
    since = clock.monotonic()
    ask = _grpc if target.protocol == "grpc" else _http
    try:
        found = bounded(lambda: ask(target, timeout), timeout + 0.5)
    except Overdue:
        found = Probe("dns", f"the name of {_host(target)} was not resolved within {timeout:.3g} s")
    except Failure as failure:
        found = Probe(failure.fault, str(failure))
    return replace(found, seconds=clock.monotonic() - since)


def _http(target: Target, timeout: float) -> Probe:
    until = clock.monotonic() + timeout
    answer = _export_nothing(target, target.url, timeout)
    rule = http_rule(answer.status)
    fault = rule.probe_fault
    if rule.outcome == "rejected":
        return _rejected(answer.status)
    if fault != "path":
        return Probe(fault, str(answer.status))
    if 300 <= answer.status < 400:
        return Probe(fault, str(answer.status), better=_redirected(target, answer))
    return Probe(fault, str(answer.status), better=_better(target, until))


def _rejected(status: int | str) -> Probe:
    return Probe(None, f"{status} to an export without spans", rejects=True)


def _export_nothing(target: Target, url: str, timeout: float) -> Exchange:
    headers = {"Content-Type": "application/x-protobuf", "User-Agent": "somatrace", **target.headers}
    return exchange(target, url, method="POST", headers=headers, body=b"", timeout=timeout)


def _better(target: Target, until: float) -> str:
    """Find a URL on the same host that accepts exports."""
    given = urlsplit(target.url)
    prefix = given.path.rstrip("/")
    for known in (*PATHS, "/api/public/otel", "/v1"):
        prefix = prefix.removesuffix(known)
    candidates = [base + path for base in dict.fromkeys((prefix, "")) for path in reversed(PATHS)]
    for path in candidates:
        left = until - clock.monotonic()
        if path == given.path or left <= 0:
            continue
        url = urlunsplit(given._replace(path=path))
        try:
            if _export_nothing(target, url, left).status in TAKES_EXPORTS:
                return _shown(urlsplit(url))
        except Failure:
            return ""
    return ""


def _redirected(target: Target, answer: Exchange) -> str:
    """Return the target of a redirect if it can be shown."""
    location = answer.headers.get("Location", "")
    given = urlsplit(target.url)
    try:
        found = urlsplit(location)
    except ValueError:
        return ""
    if not location or not location.isascii() or not location.isprintable() or len(location) > 500:
        return ""
    return _shown(found._replace(scheme=found.scheme or given.scheme, netloc=found.netloc or given.netloc))


def _shown(url: SplitResult) -> str:
    """Return a URL without user info, query and fragment, which may contain secrets."""
    return urlunsplit((url.scheme, url.netloc.rpartition("@")[2], url.path, "", ""))


def _host(target: Target) -> str:
    return urlsplit(target.url if "//" in target.url else f"//{target.url}").netloc.rpartition("@")[2]


def _grpc(target: Target, timeout: float) -> Probe:
    """Check name, port and certificate first, because gRPC reports failures of all three as UNAVAILABLE."""
    if importlib.util.find_spec("grpc") is None:
        raise Failure("path", "OTLP over gRPC needs `pip install 'somatrace[grpc]'`")
    from somatrace.delivery.otlp_grpc import GrpcTransport

    scheme = "http" if target.insecure else "https"
    connect(target, urlsplit(f"{scheme}://{_host(target)}"), timeout).close()
    transport = GrpcTransport(target)
    try:
        answer = transport.send(b"", timeout)
    finally:
        transport.close()
    if answer.outcome == "accepted":
        return Probe(None, "the export was taken")
    if answer.outcome == "rejected":
        return _rejected(answer.status)
    return Probe(answer.fault or "server", answer.message.rpartition(": ")[2])
