"""Third-party processors that would send to somatrace's own target are detected."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SimpleSpanProcessor

from somatrace.config import Settings, Target
from somatrace.instrumentation import exports_elsewhere

URL = "https://traces.example/v1/traces"
AUTHORIZATION = "Basic " + base64.b64encode(b"pk-lf-1:sk-lf-1").decode()


@pytest.fixture(params=[SimpleSpanProcessor, BatchSpanProcessor])
def processor(request: pytest.FixtureRequest) -> Iterator:
    processors = []

    def make(url: str, headers: dict[str, str] | None = None) -> SpanProcessor:
        processors.append(request.param(OTLPSpanExporter(url, headers=headers or {})))
        return processors[-1]

    yield make
    for created in processors:
        created.shutdown()


def _elsewhere(kind: str = "otlp", url: str = URL, headers: dict[str, str] | None = None):
    return exports_elsewhere(Settings(target=Target(kind, url, headers=headers or {})))  # type: ignore[arg-type]


def test_the_same_address_and_keys_are_the_same_target(processor) -> None:
    elsewhere = _elsewhere(headers={"X-Key": "one"})

    assert not elsewhere(processor(URL, {"x-key": "one"}))
    assert not elsewhere(processor(URL + "/", {"x-key": "one", "User-Agent": "somebody"}))


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("https://other.example/v1/traces", {"x-key": "one"}),
        ("https://traces.example/other", {"x-key": "one"}),
        (URL, {"x-key": "two"}),
        (URL, {"x-key": "one", "x-scope-orgid": "another tenant of the backend"}),
        (URL, {}),
    ],
)
def test_another_address_key_or_account_is_another_target(
    processor, url: str, headers: dict[str, str]
) -> None:
    assert _elsewhere(headers={"x-key": "one"})(processor(url, headers))


def test_a_langfuse_project_is_identified_by_its_key_alone(processor) -> None:
    ours = {"Authorization": AUTHORIZATION, "x-langfuse-sdk-name": "somatrace"}
    theirs = {"Authorization": AUTHORIZATION, "x-langfuse-sdk-name": "python", "x-proxy": "p"}

    assert not _elsewhere("langfuse", headers=ours)(processor(URL, theirs))
    assert _elsewhere("langfuse", headers=ours)(processor(URL, {**theirs, "Authorization": "Basic other"}))


def test_without_a_network_target_every_exporter_is_kept(processor) -> None:
    assert _elsewhere("local", url="")(processor(URL))
    assert _elsewhere()(SimpleSpanProcessor(ConsoleSpanExporter()))


def test_a_processor_whose_inspection_fails_is_kept() -> None:
    class Hostile(SpanProcessor):
        @property
        def span_exporter(self) -> object:
            raise RuntimeError("do not ask")

    class Endless(SpanProcessor):
        @property
        def span_exporter(self) -> object:
            return self

    assert _elsewhere()(Hostile())
    assert _elsewhere()(Endless())
