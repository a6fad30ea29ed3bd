"""Check the span target: its address, and whether it accepts exports."""

from __future__ import annotations

import importlib.util
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from somatrace.config import Settings
from somatrace.config.reader import DEFAULT
from somatrace.config.urls_and_headers import clear_text_abroad
from somatrace.delivery.dead_letters import dead_letter_count
from somatrace.delivery.factory import SPOOLED, address_variable, transport_of
from somatrace.delivery.probe import probe
from somatrace.delivery.probe.probe_span import probe_span
from somatrace.doctor.findings import DoctorFinding, finding
from somatrace.local.data_dir import data_dir, existing_data_dir
from somatrace.local.ingest.fresh_store import FreshStore
from somatrace.local.store.database import FILE

#: Tenant of the span sent by `--send`.
_TENANT: Final = "somatrace-doctor"


def target_findings(settings: Settings, timeout: float, *, send: bool = False) -> Iterator[DoctorFinding]:
    """Findings about the target; probes it once, and with `send` sends one span."""
    target, variable = settings.target, settings.sources.get("target", DEFAULT)
    if not settings.enabled:
        yield finding("off", variable=settings.sources["enabled"])
    if target.kind == "none":
        yield finding("nothing_sent", variable=variable)
    elif target.kind == "console":
        yield finding("console", variable=variable)
    elif target.kind == "local":
        yield from _local(settings, variable, timeout, send=send)
    elif target.protocol == "grpc" and importlib.util.find_spec("grpc") is None:
        yield finding("grpc_missing")
    else:
        if _is_clear_text(settings):
            yield finding("clear_text", host=urlsplit(_with_scheme(settings)).hostname)
        answered = _probe_finding(settings, timeout)
        tells_nothing = answered.kind == "rejects_nothing"
        sends = send and (answered.level == "ok" or tells_nothing)
        if not (sends and tells_nothing):
            yield answered
        if sends:
            yield _sent_finding(settings, timeout)
        yield _waiting(settings)
        yield from _dead_letters(settings)


def _dead_letters(settings: Settings) -> Iterator[DoctorFinding]:
    """Spans of any service that a target did not accept."""
    directory = existing_data_dir(settings.data_dir, settings.state_home)
    spans = dead_letter_count(directory) if directory is not None else 0
    if spans:
        yield finding("dead_letters", spans=f"{spans:,}", directory=directory)


def _waiting(settings: Settings) -> DoctorFinding:
    """Where undelivered spans wait, and how many are kept."""
    if settings.target.kind not in SPOOLED or not settings.spool_max_bytes:
        return finding(
            "waiting_in_memory", size=_size(settings.queue_bytes), spans=f"{settings.queue_size:,}"
        )
    directory = data_dir(settings.data_dir, settings.state_home)
    if directory is None:
        return finding("nowhere_to_wait")
    most = _size(settings.spool_max_bytes)
    return finding("waiting", directory=directory, size=most, days=f"{settings.spool_max_days:g}")


def _probe_finding(settings: Settings, timeout: float) -> DoctorFinding:
    result = probe(settings.target, timeout)
    if result.rejects:
        return finding("rejects_nothing", what=result.message, variable=address_variable(settings))
    if result.fault is None:
        return finding("answers", what=result.message, milliseconds=round(result.seconds * 1000))
    if result.better:
        return finding("elsewhere", url=settings.target.address, what=result.message, better=result.better)
    return finding(result.fault, url=settings.target.address, what=result.message)


def _sent_finding(settings: Settings, timeout: float) -> DoctorFinding:
    """Send one span, which the target stores under a tenant of its own."""
    transport, _ = transport_of(settings)
    assert transport is not None  # the probe would have failed without one
    body, trace_id = probe_span(_TENANT)
    try:
        result = transport.send(body, timeout)
    finally:
        transport.close()
    if result.outcome == "accepted" and not result.rejected:
        return finding("sent", trace_id=trace_id, tenant=_TENANT)
    what = f"{result.message}, to one span"
    if result.outcome == "rejected":
        return finding("rejects", what=what, variable=address_variable(settings))
    return finding(result.fault or "server", url=settings.target.address, what=what)


def _is_clear_text(settings: Settings) -> bool:
    """Whether spans go unencrypted without a setting problem for it (there is one when keys go too)."""
    reported = any("plain http" in problem.message for problem in settings.problems)
    return not reported and clear_text_abroad(_with_scheme(settings))


def _with_scheme(settings: Settings) -> str:
    target = settings.target
    return (
        f"{'http' if target.insecure else 'https'}://{target.url}"
        if target.protocol == "grpc"
        else target.url
    )


def _local(settings: Settings, variable: str, timeout: float, *, send: bool) -> Iterator[DoctorFinding]:
    directory = data_dir(settings.data_dir, settings.state_home)
    if directory is None:
        yield finding("no_directory")
        return
    where = directory / FILE
    if variable == DEFAULT:
        yield finding("local_default", where=where)
    else:
        yield finding("local", where=where, variable=variable)
    stored = _store_finding(directory, settings)
    yield stored
    if send and stored.level == "ok":
        yield _sent_finding(settings, timeout)
    yield _waiting(settings)


def _store_finding(directory: Path, settings: Settings) -> DoctorFinding:
    """The store's contents and limits. A missing store is not created."""
    caps = {"most": _size(settings.local_max_bytes), "days": f"{settings.local_max_days:g}"}
    where = directory / FILE
    store = FreshStore(directory, settings.local_max_bytes, settings.local_max_days)
    if not where.exists() and not store.segments.waiting():
        return finding("store_empty", **caps)
    try:
        spans, traces = store.read(_counts)
        size = sum(part.stat().st_size for part in directory.glob(f"{FILE}*") if _is_live(part))
    except (sqlite3.Error, OSError) as error:
        return finding("store_broken", what=str(error)[:120] or type(error).__name__)
    finally:
        store.close()
    return finding("store", spans=f"{spans:,}", traces=f"{traces:,}", size=_size(size), **caps)


def _counts(connection: sqlite3.Connection) -> tuple[int, int]:
    spans, traces = (
        connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - our own names
        for table in ("spans", "traces")
    )
    return int(spans), int(traces)


def _is_live(part: Path) -> bool:
    """Whether a file belongs to the store in use, not to a damaged one that was moved aside."""
    return part.name in (FILE, f"{FILE}-wal", f"{FILE}-shm")


def _size(size: float) -> str:
    for unit in ("B", "KB", "MB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GB"
