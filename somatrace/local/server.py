"""The server behind `somatrace local`."""

from __future__ import annotations

import gc
import signal
import socket
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import uvicorn

from somatrace.local.access.auth import link
from somatrace.local.access.keys import LINK_SECONDS, Keys, load_keys
from somatrace.local.app import LOOPBACK, build
from somatrace.local.connections import ConnectionLimits, limited_protocol
from somatrace.local.ingest.ingest_thread import IngestThread
from somatrace.local.ingest.page_priority import PagePriority
from somatrace.local.ingest.refusals import Refusals
from somatrace.local.ingest.segment_ingest import SegmentIngest
from somatrace.local.otlp.decode import MAX_BODY, Limits
from somatrace.local.store.store import DEFAULT_MAX_BYTES, DEFAULT_MAX_DAYS, Store

DEFAULT_PORT: Final = 4318
#: seconds that a page waits at most for an ingest thread; Python's default is five times longer
_SWITCH_SECONDS: Final = 0.001
#: objects between collections: a batch of spans creates thousands, none of them in reference cycles
_COLLECT_AFTER: Final = 20_000
#: bytes of a request's headers; browsers send the cookies of every program on the same host
_MAX_HEADERS: Final = 65_536
_LOOPBACK_NAMES: Final = ("127.0.0.1", "::1", "localhost")
_EVERY_ADDRESS: Final = ("0.0.0.0", "::", "")  # noqa: S104 (compared with, never bound by default)


class ServeError(Exception):
    """The server cannot start; the message names the remedy."""


def run(
    data_dir: Path,
    *,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    allow_remote: bool = False,
    max_bytes: int = DEFAULT_MAX_BYTES,
    max_days: float = DEFAULT_MAX_DAYS,
    max_body: int = MAX_BODY,
    say: Callable[[str], None] | None = None,
    ready: Callable[[str, Keys], None] | None = None,
) -> int:
    """Serve `data_dir` until interrupted; returns the exit code: 0, or 2 after printing one line of error.

    Port 0 picks a free port. A non-loopback host is rejected without `allow_remote`.
    `ready` is called once with the address and keys when connections are accepted.
    """
    try:
        local = LocalServer(
            data_dir,
            host=host,
            port=port,
            allow_remote=allow_remote,
            max_bytes=max_bytes,
            max_days=max_days,
            max_body=max_body,
        )
    except ServeError as error:
        sys.stderr.write(f"somatrace local: {error}\n")
        return 2
    _tune()
    with _stopped_by_signals(local):
        for line in local.greeting():
            (say or _print_line)(line)
        if ready is not None:
            ready(local.url, local.keys)
        try:
            local.serve()
        finally:
            local.close()
    return 0


class LocalServer:
    """A server that is bound on creation, so that its address is known, and runs in `serve`."""

    def __init__(
        self,
        data_dir: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        allow_remote: bool = False,
        max_bytes: int = DEFAULT_MAX_BYTES,
        max_days: float = DEFAULT_MAX_DAYS,
        max_body: int = MAX_BODY,
        limits: ConnectionLimits | None = None,
    ) -> None:
        """Check the arguments and the data directory and bind the port; raises `ServeError`."""
        if host not in _LOOPBACK_NAMES and not allow_remote:
            raise ServeError(
                f"{host or 'every address'} is not a loopback address: use 127.0.0.1, "
                "or pass --allow-remote (allow_remote in code)"
            )
        if not 0 <= port <= 65535:
            raise ServeError(f"{port} is not a valid port: use 0 to 65535")
        self.data_dir = data_dir
        refusals, priority = Refusals(), PagePriority()
        self._store = Store(data_dir, max_bytes, max_days)
        self._ingest = IngestThread(SegmentIngest(self._store, refusals.add), priority)
        try:
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.keys = load_keys(data_dir)
            self._store.read(lambda connection: connection.execute("SELECT 1 FROM spans LIMIT 1").fetchone())
            self._listener = _listen(host, port)
        except ServeError:
            self._store.close()
            raise
        except (OSError, sqlite3.Error) as error:
            self._store.close()
            raise ServeError(f"the data directory {data_dir} cannot be used: {error}") from None
        limits = limits or ConnectionLimits()
        app = build(
            self._store, self.keys, Limits(body=max_body), _hosts(host), refusals=refusals, priority=priority
        )
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=limited_protocol(limits),
                h11_max_incomplete_event_size=_MAX_HEADERS,
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                ws="none",
                lifespan="off",
                # also counts requests whose clients have gone; one more, since it refuses at the limit
                limit_concurrency=limits.connections + 1,
                timeout_graceful_shutdown=3,
            )
        )

    @property
    def url(self) -> str:
        host, port = self._listener.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def started(self) -> bool:
        return self._server.started

    def greeting(self) -> list[str]:
        """The lines printed at start: the addresses, and where programs find their keys."""
        return [
            f"somatrace local is running at {self.url}",
            f"open the page: {link(self.keys, self.url, LINK_SECONDS)}",
            f"(the link works once and expires in {LINK_SECONDS / 60:.0f} minutes)",
            f"data and keys are in {self.data_dir}",
        ]

    def serve(self) -> None:
        """Serve until `stop` is called or, in the main thread, a signal arrives."""
        self._ingest.start()
        try:
            self._server.run(sockets=[self._listener])
        finally:
            self._ingest.stop()

    def stop(self) -> None:
        """Make `serve` return soon; callable from any thread."""
        self._server.should_exit = True

    def close(self) -> None:
        self._listener.close()
        self._store.close()


@contextmanager
def _stopped_by_signals(local: LocalServer) -> Iterator[None]:
    """Stop the server on signals that arrive before uvicorn handles them; only in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [(number, signal.signal(number, lambda *_: local.stop())) for number in numbers]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _tune() -> None:
    """Tune the interpreter, which only runs this server: faster thread switches, fewer collections."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 10, 10)


def _hosts(host: str) -> Sequence[str]:
    if host in _LOOPBACK_NAMES:
        return LOOPBACK
    return ("*",) if host in _EVERY_ADDRESS else (*LOOPBACK, host)


def _print_line(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(128)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise ServeError(
            f"cannot listen on {host}:{port} ({error.strerror}): choose another port with --port"
        ) from None
    return listener
