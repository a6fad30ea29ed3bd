"""docs/compatibility.md: each variable is honored, or `explain` names its replacement."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from somatrace import semconv
from somatrace.config import Config, explain, resolve
from somatrace.config.specs import ALSO_READ, REPLACED, SPAN_LIMITS, SPECS

GUIDE = (Path(__file__).parents[2] / "docs" / "compatibility.md").read_text()


def section(title: str) -> str:
    return GUIDE.split(f"\n## {title}\n")[1].split("\n## ")[0]


VARIABLES = sorted(
    name
    for row in re.findall(r"^\| (`[^|]+) \|", section("Environment"), re.MULTILINE)
    for name in re.findall(r"`([A-Z0-9_]+)`", row)
)

KEYS = {"LANGFUSE_PUBLIC_KEY": "pk-lf-1", "LANGFUSE_SECRET_KEY": "sk-lf-1"}
COLLECTOR = {"SOMATRACE_ENDPOINT": "collector:4317", "SOMATRACE_PROTOCOL": "grpc"}
MUTUAL = {"SOMATRACE_CLIENT_CERTIFICATE": "/c.pem", "SOMATRACE_CLIENT_KEY": "/k.pem", **COLLECTOR}

#: a non-default value for each variable, and other variables required for it to have an effect
VALUES: dict[str, tuple[str, dict[str, str]]] = {
    "TRACE_CONTENT": ("true", {}),
    "TRACELOOP_TRACE_CONTENT": ("true", {}),
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": ("SPAN_ONLY", {}),
    "OTEL_EXPORTER_OTLP_ENDPOINT": ("http://collector:4318", {}),
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": ("http://collector:4318/in", {}),
    "OTEL_EXPORTER_OTLP_HEADERS": ("x-team=a", COLLECTOR),
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS": ("x-team=a", COLLECTOR),
    "OTEL_EXPORTER_OTLP_PROTOCOL": ("grpc", {"SOMATRACE_ENDPOINT": "http://collector:4317"}),
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": ("grpc", {"SOMATRACE_ENDPOINT": "http://collector:4317"}),
    "OTEL_EXPORTER_OTLP_TIMEOUT": ("3", COLLECTOR),
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": ("3", COLLECTOR),
    "OTEL_EXPORTER_OTLP_COMPRESSION": ("none", COLLECTOR),
    "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": ("deflate", COLLECTOR),
    "OTEL_EXPORTER_OTLP_CERTIFICATE": ("/ca.pem", COLLECTOR),
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE": ("/ca.pem", COLLECTOR),
    "OTEL_EXPORTER_OTLP_CLIENT_KEY": ("/x.pem", MUTUAL),
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY": ("/x.pem", MUTUAL),
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": ("/x.pem", MUTUAL),
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE": ("/x.pem", MUTUAL),
    "OTEL_EXPORTER_OTLP_INSECURE": ("true", COLLECTOR),
    "OTEL_EXPORTER_OTLP_TRACES_INSECURE": ("true", COLLECTOR),
    "OTEL_TRACES_EXPORTER": ("console", {}),
    "OTEL_RESOURCE_ATTRIBUTES": ("k8s.pod.name=a", {}),
    "OTEL_SERVICE_NAME": ("injected", {}),
    "OTEL_TRACES_SAMPLER": ("always_off", {}),
    "OTEL_TRACES_SAMPLER_ARG": ("0.5", {"OTEL_TRACES_SAMPLER": "traceidratio"}),
    "OTEL_BSP_MAX_QUEUE_SIZE": ("4000", {}),
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": ("100", {}),
    "OTEL_BSP_SCHEDULE_DELAY": ("5000", {}),
    "OTEL_BSP_EXPORT_TIMEOUT": ("30000", COLLECTOR),
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": ("64", {}),
    "OTEL_SPAN_EVENT_COUNT_LIMIT": ("64", {}),
    "OTEL_SPAN_LINK_COUNT_LIMIT": ("64", {}),
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": ("64", {}),
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": ("64", {}),
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": ("64", {}),
    "OTEL_ATTRIBUTE_COUNT_LIMIT": ("64", {}),
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": ("64", {}),
    "OTEL_SDK_DISABLED": ("true", {}),
    "OTEL_PROPAGATORS": ("tracecontext", {}),
    "LANGFUSE_PUBLIC_KEY": ("pk-lf-1", {"LANGFUSE_SECRET_KEY": "sk-lf-1", "LANGFUSE_HOST": "http://lf"}),
    "LANGFUSE_SECRET_KEY": ("sk-lf-1", {"LANGFUSE_PUBLIC_KEY": "pk-lf-1", "LANGFUSE_HOST": "http://lf"}),
    "LANGFUSE_HOST": ("http://lf", KEYS),
    "LANGFUSE_BASE_URL": ("http://lf", KEYS),
    "LANGFUSE_ENABLED": ("false", {}),
    "LANGFUSE_TRACING_ENABLED": ("false", {}),
    "TRACELOOP_TRACING_ENABLED": ("false", {}),
    "LANGFUSE_SAMPLE_RATE": ("0.5", {}),
    "LANGFUSE_SAMPLING_RATE": ("0.5", {}),
    "LANGFUSE_ENABLE_SAMPLING": ("false", {"LANGFUSE_SAMPLE_RATE": "0.5"}),
    "LANGFUSE_FLUSH_INTERVAL": ("5.0", {}),
    "LANGFUSE_FLUSH_AT": ("100", {}),
    "LANGFUSE_BUFFER_SIZE": ("1000", {}),
    "LANGFUSE_TIMEOUT": ("5", COLLECTOR),
    "LANGFUSE_MAX_RETRIES": ("5", {}),
    "LANGFUSE_MAX_LATENCY_MS": ("50", {}),
    "LANGFUSE_ENVIRONMENT": ("production", {}),
    "LANGFUSE_TRACING_ENVIRONMENT": ("production", {}),
    "LANGFUSE_RELEASE": ("7", {}),
    "LANGFUSE_DEBUG": ("true", {}),
    "LANGFUSE_INGESTION_TOKEN": ("token", {}),
    "TRACELOOP_BASE_URL": ("http://traceloop", {}),
    "TRACELOOP_API_KEY": ("key", {}),
    "TRACELOOP_HEADERS": ("a=b", {}),
}


def effect(environ: dict[str, str]) -> object:
    """The settings without their sources."""
    return replace(resolve("orchestrator", None, environ), sources={}, unused={})


@pytest.mark.parametrize("name", VARIABLES)
def test_each_variable_is_honored_or_explained(name):
    value, beside = VALUES[name]
    without = {other: content for other, content in beside.items() if not replaces(other, name)}

    if effect({**without, name: value}) != effect(without):
        return
    settings = resolve("orchestrator", None, {**beside, name: value})
    reasons = [line.why for line in explain(settings) if line.setting == name]
    assert len(reasons) == 1
    assert reasons[0].startswith(("not read: ", "replaced by "))


def replaces(ours: str, theirs: str) -> bool:
    """Whether `ours` sets the same setting as `theirs`."""
    return any(spec.variable == ours and theirs in {other.name for other in spec.others} for spec in SPECS)


@pytest.mark.parametrize(
    "name",
    [
        "OTEL_SERVICE_NAME",
        "LANGFUSE_INGESTION_TOKEN",
        "TRACELOOP_BASE_URL",
        "TRACELOOP_API_KEY",
        "TRACELOOP_HEADERS",
    ],
)
def test_only_these_are_replaced_rather_than_honored(name):
    value, beside = VALUES[name]

    assert effect({**beside, name: value}) == effect(beside)


PLAIN = [
    (spec, other.name) for spec in SPECS for other in spec.others if not spec.name.startswith("langfuse_")
]


@pytest.mark.parametrize(("spec", "name"), PLAIN, ids=[name for _, name in PLAIN])
def test_a_variable_overridden_by_somatraces_is_explained(spec, name):
    value, beside = VALUES[name]

    settings = resolve("orchestrator", None, {**beside, name: value, spec.variable: value})

    assert settings.sources[spec.name] == spec.variable
    assert name in {line.setting for line in explain(settings)}


def test_the_guide_names_every_variable_that_is_read_or_replaced():
    limits = {name for pair in SPAN_LIMITS.values() for name in pair if name}
    read = {variable.name for spec in SPECS for variable in spec.others} | set(ALSO_READ) | limits
    elsewhere = {"OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER"}

    assert set(VARIABLES) == read | (set(REPLACED) - elsewhere)


def test_the_guides_tags_are_the_known_tags():
    assert sorted(re.findall(r"`([a-z_]+)`", section("Tags"))) == sorted(semconv.KNOWN_TAGS)


def test_the_guide_lists_the_headers_that_are_read_and_sent():
    named = set(re.findall(r"`([a-z-]+)`", section("Headers")))

    assert {
        semconv.HEADER_TRACEPARENT,
        semconv.HEADER_TRACESTATE,
        semconv.HEADER_CORRELATION,
        semconv.HEADER_REQUEST,
    } <= named
    assert semconv.CLIENT_CORRELATION in section("Headers")


def test_a_setting_in_code_overrides_every_variable():
    environ = {"SOMATRACE_RELEASE": "2", "LANGFUSE_RELEASE": "3"}

    assert resolve("orchestrator", Config(release="1"), environ).release == "1"
