"""Helpers: batches of named spans, outboxes, and sockets with scripted answers."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from somatrace.config import Target
from somatrace.delivery.batch_queue import BatchQueue
from somatrace.delivery.dead_letters import DeadLetters
from somatrace.delivery.journal import Journal
from somatrace.delivery.ledger import Ledger
from somatrace.delivery.otlp_http import HttpTransport
from somatrace.delivery.outbox import Outbox
from somatrace.drain.dead_letter_survey import dead_segments, spans_of
from somatrace.guard.redaction.redact import redact_text
from tests.support.waiting import HANG

#: Seconds for one request: enough for a busy machine.
PATIENCE = 20.0
OWNER = {"service": "svc", "target": "otlp", "address": "http://collector:4318/v1/traces", "key": ""}


def batch(*names: str) -> bytes:
    """Encode a request with one span of each name."""
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for name in names:
        scope.spans.add(
            name=name,
            trace_id=os.urandom(16),
            span_id=os.urandom(8),
            start_time_unix_nano=1,
            end_time_unix_nano=2,
        )
    return request.SerializeToString()


def names(body: bytes) -> list[str]:
    return [
        span.name
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def target(url: str, **more: object) -> Target:
    return Target("otlp", url, **{"timeout": PATIENCE, **more})


_made: list[HttpTransport] = []


def http(place: Target) -> HttpTransport:
    """A transport that is closed when the test ends."""
    _made.append(HttpTransport(place))
    return _made[-1]


def close_all() -> None:
    while _made:
        _made.pop().close()


def journal_in(directory: Path, owner: Mapping[str, str] = OWNER) -> Journal:
    return Journal(lambda: directory, owner, max_bytes=1 << 26, max_days=7.0)


def dead_letters_in(directory: Path, **more: Any) -> DeadLetters:
    settings = {
        "max_bytes": 1 << 26,
        "max_days": 7.0,
        "evicted": lambda _: None,
        "redact": redact_text,
        "owner": OWNER,
        **more,
    }
    return DeadLetters(lambda: directory, settings.pop("owner"), **settings)


def dead_in(directory: Path) -> list[str]:
    """The names of the spans in dead letters."""
    return [span.name for span in spans_of(dead_segments(directory, []))]


def outbox_to(place: Target | object, **more: object) -> tuple[Outbox, Ledger]:
    """An outbox and its ledger; `place` is a target reached over HTTP, or a transport."""
    ledger = Ledger()
    transport = http(place) if isinstance(place, Target) else place
    journal: Any = more.pop("journal", None)
    dead_letters: Any = more.pop("dead_letters", None)
    queue = BatchQueue(
        ledger,
        None if journal is None else lambda: journal,
        max_bytes=more.pop("max_bytes", 1 << 20),
        batch_size=more.pop("batch_size", 512),
        allows=more.pop("allows", lambda *_: False),
    )
    settings = {"timeout": PATIENCE, "quick_retries": 3, **more}
    opened = None if dead_letters is None else lambda: dead_letters
    return Outbox(transport, queue, ledger, open_dead_letters=opened, **settings), ledger


def deliver(outbox: Outbox, seconds: float = HANG) -> None:
    """Send like the worker until nothing waits."""
    until = time.monotonic() + seconds
    while not outbox.queue.empty and time.monotonic() < until:
        time.sleep(min(outbox.send() or 0.0, 1.0))


@contextmanager
def raw_server(*scripts: Callable[[socket.socket], None], host: str = "127.0.0.1") -> Iterator[int]:
    """Listen on a port; connection number n is handled by script n, later ones by the last script."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.bind((host, 0))
    listener.listen(16)
    open_connections: list[socket.socket] = []

    def serve() -> None:
        number = 0
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            open_connections.append(connection)
            script = scripts[min(number, len(scripts) - 1)]
            number += 1
            threading.Thread(target=_quietly, args=(script, connection), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in open_connections:
            connection.close()


def _quietly(script: Callable[[socket.socket], None], connection: socket.socket) -> None:
    try:
        script(connection)
    except OSError:
        pass


def read_request(connection: socket.socket) -> tuple[bytes, bytes]:
    """Head and body of one request."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            raise OSError("closed")
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        (
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        ),
        0,
    )
    while len(body) < length:
        body += connection.recv(65536)
    return head, body


def answering(data: bytes, *, close: bool = False) -> Callable[[socket.socket], None]:
    """Answer each request of a connection with `data`, unchanged."""

    def script(connection: socket.socket) -> None:
        while True:
            read_request(connection)
            connection.sendall(data)
            if close:
                connection.close()
                return

    return script


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def open_segments(directory: Path) -> list[str]:
    """The segments in a directory that this process holds open."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.append(str(descriptor.readlink()))
    return [name for name in found if name.startswith(str(directory)) and ".segment" in name]
