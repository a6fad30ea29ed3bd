"""Requests that carry telemetry are no spans: those to the target, and those of observability SDKs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from somatrace import bind, span
from somatrace.config import Target
from somatrace.instrumentation.http.telemetry_requests import set_target
from somatrace.testing import capture
from tests.support.echo_server import Echo
from tests.support.otlp_server import otlp_server
from tests.support.programs import run_program

pytest.importorskip("aiohttp", reason="aiohttp is not installed in this environment")

from tests.instrumentation.http.test_clients import TRACE_HEADERS, aiohttp, clients, each_client


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _no_target_afterwards() -> Iterator[None]:
    with capture():
        pass
    yield
    set_target(Target("none"))


@each_client
def test_a_request_to_the_target_is_no_span_and_gets_no_trace_headers(get, echo: Echo) -> None:
    set_target(Target("langfuse", f"http://127.0.0.1:{echo.port}/api/public/otel/v1/traces"))

    with capture() as seen, span("caller"), bind(tenant_id="acme"):
        assert get(f"http://127.0.0.1:{echo.port}/api/public/projects") == 200

    assert clients(seen) == []
    (sent,) = echo.requests
    assert not set(TRACE_HEADERS) & set(sent)


@each_client
def test_another_port_of_the_same_host_is_another_server(get, echo: Echo) -> None:
    set_target(Target("otlp", "http://127.0.0.1:4318/v1/traces"))

    with capture() as seen, span("caller"):
        get(f"http://127.0.0.1:{echo.port}/")

    assert len(clients(seen)) == 1


@each_client
def test_another_path_of_the_targets_server_is_traced(get, echo: Echo) -> None:
    set_target(Target("langfuse", f"http://127.0.0.1:{echo.port}/api/public/otel/v1/traces"))

    with capture() as seen, span("caller"):
        get(f"http://127.0.0.1:{echo.port}/orders/7")

    assert len(clients(seen)) == 1


def test_a_request_relative_to_a_base_url_at_the_target_is_no_span(echo: Echo) -> None:
    set_target(Target("langfuse", f"http://127.0.0.1:{echo.port}/api/public/otel/v1/traces"))

    async def run() -> None:
        session = aiohttp.ClientSession(base_url=f"http://127.0.0.1:{echo.port}/api/")
        async with session, session.get("public/projects") as answer:
            assert answer.status == 200

    with capture() as seen:
        asyncio.run(run())

    assert seen.spans == []


@each_client
def test_a_gateway_behind_which_the_target_is_one_of_several_services_is_traced(get, echo: Echo) -> None:
    set_target(Target("langfuse", f"http://127.0.0.1:{echo.port}/langfuse/api/public/otel/v1/traces"))

    with capture() as seen, span("caller"):
        get(f"http://127.0.0.1:{echo.port}/orders/7")

    assert len(clients(seen)) == 1


def run_with_langfuse(source: str, echo: Echo) -> list[str]:
    """The names of the spans of a program that uses the langfuse SDK with a server that is not the target."""
    pytest.importorskip("langfuse", reason="the extra langfuse")
    with otlp_server() as server:
        run_program(
            f"""
            from contextlib import suppress
            import httpx
            import somatrace
            from langfuse import Langfuse, observe
            somatrace.init_tracing("svc")
            langfuse = Langfuse(public_key="pk-lf-1", secret_key="sk-lf-1", base_url="http://127.0.0.1:{echo.port}")
            {source}
            assert somatrace.flush(60)
            """,
            {"OTEL_EXPORTER_OTLP_ENDPOINT": server.url},
        )
        return [received.name for received in server.spans]


@pytest.mark.slow
def test_calls_of_the_langfuse_sdk_are_no_spans(echo: Echo) -> None:
    names = run_with_langfuse(
        "with suppress(Exception): langfuse.api.projects.get()\n"
        "            with suppress(Exception): langfuse.get_prompt('movie', max_retries=0)",
        echo,
    )

    assert echo.requests
    assert names == []


@pytest.mark.slow
def test_requests_of_a_function_that_the_langfuse_sdk_observes_are_spans(echo: Echo) -> None:
    names = run_with_langfuse(
        f"observe()(lambda: httpx.get('http://127.0.0.1:{echo.port}/', timeout=60))()",
        echo,
    )

    assert "GET" in names
