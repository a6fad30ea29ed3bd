"""Clients that are slow, silent or endless do not keep others out of the local server."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import httpx
import pytest
import uvicorn

from somatrace.local.connections import ConnectionLimits, limited_protocol
from tests.support.local_server import Running
from tests.support.logs import own_records
from tests.support.waiting import HANG, wait_until

#: lets one side of a connection wait for ever, as far as a test is concerned
NEVER = 3600.0
QUICK = ConnectionLimits(request_seconds=0.2, transfer_seconds=0.2)
CHUNKED = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
HALF_REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "


@pytest.fixture
def connect() -> Iterator[Callable[..., socket.socket]]:
    """Open raw connections that are closed after the test."""
    opened = []

    def open_one(url: str, sent: bytes = b"", receive_buffer: int | None = None) -> socket.socket:
        host, port = url.removeprefix("http://").rsplit(":", 1)
        client = socket.socket()
        opened.append(client)
        client.settimeout(HANG)
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.connect((host, int(port)))
        client.sendall(sent)
        return client

    yield open_one
    for client in opened:
        client.close()


def post(server: Running, *headers: str) -> bytes:
    """The head of an export with the right keys."""
    lines = [
        "POST /v1/traces HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: {server.keys.basic()}",
        "Content-Type: application/x-protobuf",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def is_closed(client: socket.socket) -> bool:
    """Whether the server closes the connection; what it sends before is read and dropped."""
    try:
        while client.recv(65536):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


def is_cut_off(client: socket.socket, part: bytes) -> bool:
    """Whether a client that sends `part` again and again is cut off."""
    stop = threading.Event()
    broken = threading.Event()

    def send() -> None:
        with suppress(TimeoutError):
            try:
                while not stop.wait(0.01):
                    client.sendall(part)
            except OSError:
                broken.set()

    sender = threading.Thread(target=send)
    sender.start()
    try:
        return broken.wait(HANG)
    finally:
        stop.set()
        sender.join()


@contextmanager
def served(app: Any, limits: ConnectionLimits) -> Iterator[str]:
    """The URL of an app of the test's own behind the limits."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        server = uvicorn.Server(
            uvicorn.Config(app, http=limited_protocol(limits), lifespan="off", log_level="critical")
        )
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            wait_until(lambda: server.started)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(HANG)


def health(server: Running) -> int:
    with httpx.Client(timeout=HANG) as client:
        return client.get(f"{server.url}/api/public/health").status_code


def test_by_default_as_many_half_sent_requests_as_connections_keep_nobody_out(server, connect):
    for _ in range(ConnectionLimits().connections + 20):
        connect(server.url, HALF_REQUEST)
    assert health(server) == 200


@pytest.mark.parametrize("kind", ["silent", "half request", "half body", "half chunk", "unread responses"])
def test_connections_that_wait_for_their_clients_make_way(start_server, tmp_path, connect, kind):
    limits = ConnectionLimits(connections=4, request_seconds=NEVER, transfer_seconds=NEVER)
    server = start_server(tmp_path / "data", limits=limits)
    sent = {
        "silent": b"",
        "half request": HALF_REQUEST,
        "half body": post(server, "Content-Length: 1000") + b"x",
        "half chunk": post(server, "Transfer-Encoding: chunked") + b"ffff\r\nx",
        "unread responses": b"GET /static/uPlot.iife.min.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 500,
    }[kind]
    for _ in range(4):
        connect(server.url, sent, receive_buffer=4096)
    # busy until the buffers of a client that reads nothing are full
    wait_until(lambda: health(server) == 200)


def test_the_connection_that_was_waited_for_longest_makes_way(start_server, tmp_path, connect):
    limits = ConnectionLimits(connections=3, request_seconds=NEVER, transfer_seconds=NEVER)
    server = start_server(tmp_path / "data", limits=limits)
    request = b"GET /api/public/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    first, oldest, last = (connect(server.url) for _ in range(3))
    for client in (last, first):
        client.sendall(request)
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
    assert health(server) == 200
    assert is_closed(oldest)


def test_a_connection_whose_request_is_being_handled_does_not_make_way(connect):
    release = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/long":
            await asyncio.to_thread(release.wait, HANG)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    limits = ConnectionLimits(connections=2, request_seconds=NEVER, transfer_seconds=NEVER)
    with served(app, limits) as url:
        long = connect(url, b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
        for _ in range(5):
            assert httpx.get(f"{url}/short", timeout=HANG).status_code == 200
        release.set()
        assert long.recv(12) == b"HTTP/1.1 200"


def test_a_slow_handler_and_pauses_within_an_answer_are_not_cut_off():
    def answer(limit: float) -> str:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await asyncio.sleep(limit * 2)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for part in (b"one ", b"two"):
                await send({"type": "http.response.body", "body": part, "more_body": True})
                await asyncio.sleep(limit * 2)
            await send({"type": "http.response.body", "body": b""})

        with served(app, ConnectionLimits(request_seconds=limit, transfer_seconds=limit)) as url:
            return httpx.get(url, timeout=HANG).text

    try:
        answered = answer(0.2)
    except httpx.TransportError:  # a busy machine may need longer than that to send the request itself
        answered = answer(5.0)
    assert answered == "one two"


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        HALF_REQUEST,
        b"GET /api/public/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /api/public/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" + HALF_REQUEST,
        b"POST /open HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\ntoken=",
        b"POST /v1/traces HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\nx",
        b"POST /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n",
        CHUNKED + b"ff\r\nx",
    ],
    ids=["silent", "half", "idle", "idle and half", "form", "no key", "continue", "chunk"],
)
def test_a_connection_that_stops_sending_is_closed(start_server, tmp_path, connect, sent):
    server = start_server(tmp_path / "data", limits=QUICK)
    assert is_closed(connect(server.url, sent))


@pytest.mark.parametrize(
    ("head", "part"),
    [
        (b"", b"G"),
        (HALF_REQUEST, b"x"),
        (b"", b"\r\n"),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n", b"X-Slow: 1\r\n"),
        (b"POST /open HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4000\r\n\r\n", b"x"),
        (b"POST /v1/traces HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999\r\n\r\n", b"x"),
        (CHUNKED, b"1\r\nx\r\n"),
        (CHUNKED, b"9999\r\n" + b"x" * 0x9999 + b"\r\n"),
    ],
    ids=["method", "header", "empty lines", "headers", "form", "no key", "chunks", "large chunks"],
)
def test_a_client_that_never_finishes_is_cut_off(start_server, tmp_path, connect, head, part):
    server = start_server(tmp_path / "data", limits=QUICK)
    assert is_cut_off(connect(server.url, head), part)


@pytest.mark.parametrize("part", [b"1\r\nx\r\n", b"8000\r\n" + b"x" * 0x8000 + b"\r\n"])
def test_an_export_without_end_is_cut_off(start_server, tmp_path, connect, part):
    server = start_server(tmp_path / "data", limits=QUICK, max_body=1_000_000)
    assert is_cut_off(connect(server.url, post(server, "Transfer-Encoding: chunked")), part)


def test_headers_without_end_are_refused_before_they_fill_the_memory(start_server, tmp_path, connect):
    limits = ConnectionLimits(request_seconds=NEVER)
    server = start_server(tmp_path / "data", limits=limits)
    client = connect(server.url, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
    assert is_cut_off(client, b"X-Large: " + b"x" * 4000 + b"\r\n")


def test_a_client_that_reads_no_responses_is_closed(start_server, tmp_path, connect):
    limits = ConnectionLimits(request_seconds=NEVER, transfer_seconds=0.2)
    server = start_server(tmp_path / "data", limits=limits)
    request = b"GET /static/uPlot.iife.min.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    client = connect(server.url, receive_buffer=4096)
    assert is_cut_off(client, request * 100)


def test_pipelined_requests_are_all_answered(start_server, tmp_path, connect):
    server = start_server(tmp_path / "data")
    request = b"GET /api/public/health HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    client = connect(server.url, (request + b"\r\n") * 50 + request + b"Connection: close\r\n\r\n")
    received = b"".join(iter(lambda: client.recv(65536), b""))
    assert received.count(b"HTTP/1.1 200") == 51


def test_an_export_of_the_largest_size_arrives_in_small_parts(start_server, tmp_path, connect, export):
    server = start_server(tmp_path / "data", max_body=1_000_000)
    request = export()
    request.span(attributes={"note": "x" * 900_000})
    body = request.bytes()
    client = connect(server.url, post(server, f"Content-Length: {len(body)}"))
    for start in range(0, len(body), 10_000):
        client.sendall(body[start : start + 10_000])
    assert client.recv(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize("path", ["/open", "/v1/traces", "/api/public/otel/v1/metrics", "/traces"])
def test_a_client_that_leaves_within_a_body_logs_nothing(start_server, tmp_path, connect, caplog, path):
    server = start_server(tmp_path / "data")
    head = post(server, "Content-Length: 1000").replace(b"/v1/traces", path.encode())
    connect(server.url, head + b"x").close()
    assert health(server) == 200
    assert own_records(caplog) == []
