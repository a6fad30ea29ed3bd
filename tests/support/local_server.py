"""The local server on a real socket, and OTLP requests built with the stock protobuf classes."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from langfuse.api import LangfuseAPI
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from somatrace.local.access import auth
from somatrace.local.access.keys import Keys
from somatrace.local.otlp.decode import Limits, from_protobuf
from somatrace.local.server import LocalServer
from somatrace.local.store.store import Store
from tests.support.waiting import HANG, wait_until

LANGFUSE = "/api/public/otel/v1/traces"
NOW = time.time_ns()


def any_value(value: Any) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, bytes):
        return AnyValue(bytes_value=value)
    if isinstance(value, str):
        return AnyValue(string_value=value)
    wrapped = AnyValue()
    wrapped.array_value.values.extend(any_value(item) for item in value)
    return wrapped


class Export:
    """Builder of an export request."""

    def __init__(self, scope: str = "tests", **resource: Any) -> None:
        self.message = ExportTraceServiceRequest()
        spans = self.message.resource_spans.add()
        for key, value in {"service.name": "checkout", **resource}.items():
            spans.resource.attributes.add(key=key, value=any_value(value))
        self._scope = spans.scope_spans.add()
        self._scope.scope.name = scope

    def span(
        self,
        name: str = "work",
        *,
        trace: bytes | None = None,
        parent: Span | None = None,
        start_ns: int = NOW,
        seconds: float = 1.0,
        failed: str | None = None,
        attributes: dict[str, Any] | None = None,
    ) -> Span:
        span = self._scope.spans.add(
            name=name,
            trace_id=parent.trace_id if parent else trace or os.urandom(16),
            span_id=os.urandom(8),
            parent_span_id=parent.span_id if parent else b"",
            start_time_unix_nano=start_ns,
            end_time_unix_nano=start_ns + int(seconds * 1e9),
        )
        for key, value in (attributes or {}).items():
            span.attributes.add(key=key, value=any_value(value))
        if failed is not None:
            span.status.code = 2
            span.status.message = failed
        return span

    def bytes(self) -> bytes:
        return self.message.SerializeToString()


@dataclass
class Running:
    """A running server."""

    url: str
    keys: Keys
    data_dir: Path
    client: httpx.Client

    @property
    def api(self) -> LangfuseAPI:
        return LangfuseAPI(
            base_url=self.url,
            username=self.keys.public_key,
            password=self.keys.secret_key,
            httpx_client=self.client,
        )

    def post(self, body: bytes, path: str = LANGFUSE, **headers: str) -> httpx.Response:
        """Send `body` as an exporter does; a header given as "" is omitted."""
        given = {
            "Authorization": self.keys.basic(),
            "Content-Type": "application/x-protobuf",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        return self.client.post(self.url + path, content=body, headers={k: v for k, v in given.items() if v})

    def send(self, export: Export) -> None:
        assert self.post(export.bytes()).status_code == 200

    def get(self, path: str, **params: Any) -> httpx.Response:
        return self.client.get(self.url + path, params=params, headers={"Authorization": self.keys.basic()})

    def metrics(self, **query: Any) -> list[dict[str, Any]]:
        whole = {
            "view": "observations",
            "fromTimestamp": "2020-01-01T00:00:00Z",
            "toTimestamp": "2100-01-01T00:00:00Z",
            **query,
        }
        return self.api.metrics.metrics(query=json.dumps(whole)).data

    @contextmanager
    def browser(self) -> Iterator[httpx.Client]:
        """A browser client that has signed in by a link."""
        with httpx.Client(base_url=self.url, timeout=HANG) as client:
            token = auth.link(self.keys, self.url, 60).partition("#")[2]
            assert client.post("/open", data={"token": token}).status_code == 303
            yield client


@contextmanager
def servers() -> Iterator[Callable[..., Running]]:
    """Start servers, which stop with the block; their threads end soon after it."""
    running: list[tuple[LocalServer, httpx.Client]] = []

    def serve(local: LocalServer) -> None:
        try:
            local.serve()
        finally:
            local.close()

    def start(data_dir: Path, **options: Any) -> Running:
        local = LocalServer(data_dir, **options)
        threading.Thread(target=serve, args=(local,)).start()
        client = httpx.Client(timeout=HANG)
        running.append((local, client))
        wait_until(lambda: local.started)
        return Running(local.url, local.keys, data_dir, client)

    try:
        yield start
    finally:
        for local, client in running:
            client.close()
            local.stop()


@pytest.fixture
def start_server() -> Iterator[Callable[..., Running]]:
    """Start servers that live as long as the test."""
    with servers() as start:
        yield start


@pytest.fixture(scope="session")
def start_lasting_server() -> Iterator[Callable[..., Running]]:
    """Start servers that live for the whole test session."""
    with servers() as start:
        yield start


@pytest.fixture(scope="session")
def shared_server(
    start_lasting_server: Callable[..., Running], tmp_path_factory: pytest.TempPathFactory
) -> Running:
    """A shared server for tests that do not depend on other stored data."""
    return start_lasting_server(tmp_path_factory.mktemp("local"), max_body=1_000_000)


@pytest.fixture
def server(start_server: Callable[..., Running], tmp_path: Path) -> Running:
    """A server with an empty store."""
    return start_server(tmp_path / "data")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = Store(tmp_path)
    yield found
    found.close()


class StoreSink:
    """Writes encoded requests straight into the store of a directory."""

    def __init__(self, directory: Path) -> None:
        self._store = Store(directory, 1 << 40, 7.0)

    def send(self, body: bytes) -> None:
        self._store.add(from_protobuf(body, Limits()))

    def close(self) -> None:
        self._store.close()


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[StoreSink]:
    found = StoreSink(tmp_path)
    yield found
    found.close()


@pytest.fixture
def export() -> type[Export]:
    return Export
