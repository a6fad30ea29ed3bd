"""Settings: precedence, the target as a whole, secrets from files, and never an exception."""

from __future__ import annotations

import ast
import base64
import os
import pickle
import re
import subprocess
import sys
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import SpanLimits as SdkLimits
from opentelemetry.sdk.trace.sampling import _KNOWN_SAMPLERS

from somatrace import semconv
from somatrace.config import Config, ConfigError, Settings, SpanLimits, Target, explain, refresh, resolve
from somatrace.config.environment import IN_FILES, MAX_FILE, parse_env
from somatrace.config.specs import BY_NAME, SPECS

ROOT = Path(__file__).parents[2]
KEYS = {"LANGFUSE_PUBLIC_KEY": "pk-lf-1", "LANGFUSE_SECRET_KEY": "sk-lf-1"}
LANGFUSE = {**KEYS, "LANGFUSE_HOST": "https://langfuse.example.com"}
COLLECTOR = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
SIGNING_KEY = base64.b64encode(b"0123456789abcdef").decode()


def settings_of(environ: dict[str, str] | None = None, **config) -> Settings:
    return resolve("orchestrator", Config(**config), environ or {})


def complaints(settings: Settings) -> list[str]:
    return [problem.setting for problem in settings.problems]


def said(settings: Settings) -> dict[str, str]:
    return {line.setting: line.value for line in explain(settings)}


# -- nothing set ------------------------------------------------------------------------------------


def test_by_default_spans_go_to_the_local_store_and_content_is_off():
    settings = settings_of()

    assert settings.target == Target("local")
    assert settings.content == "none"
    assert settings.enabled
    assert settings.problems == ()
    assert set(settings.sources.values()) == {"default", "keyword"}


def test_every_field_of_config_is_a_setting_with_a_description():
    in_code_only = {"content_policy"}  # its variable names a file
    assert [field.name for field in fields(Config) if field.name not in in_code_only] == [
        spec.name for spec in SPECS
    ]
    assert all(spec.why for spec in SPECS)


def test_empty_variables_count_as_not_set():
    environ = {spec.variable: "" for spec in SPECS} | {"LANGFUSE_PUBLIC_KEY": "  ", "OTEL_TRACES_SAMPLER": ""}

    assert settings_of(environ) == settings_of()


def test_the_process_environment_is_read_and_not_modified(monkeypatch):
    monkeypatch.setenv("SOMATRACE_DEFAULT_TENANT", "house")
    before = dict(os.environ)

    assert resolve("orchestrator").default_tenant == "house"
    assert dict(os.environ) == before


# -- precedence -------------------------------------------------------------------------------------


def test_the_first_source_in_precedence_order_decides():
    places = [
        ({"LANGFUSE_TIMEOUT": "5"}, 5.0, "LANGFUSE_TIMEOUT"),
        ({"OTEL_BSP_EXPORT_TIMEOUT": "4000"}, 4.0, "OTEL_BSP_EXPORT_TIMEOUT"),
        ({"OTEL_EXPORTER_OTLP_TIMEOUT": "3"}, 3.0, "OTEL_EXPORTER_OTLP_TIMEOUT"),
        ({"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "2"}, 2.0, "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"),
        ({"SOMATRACE_TIMEOUT": "1"}, 1.0, "SOMATRACE_TIMEOUT"),
    ]
    environ = dict(COLLECTOR)
    for variable, expected, source in places:
        environ.update(variable)
        settings = settings_of(environ)
        assert (settings.target.timeout, settings.sources["timeout"]) == (expected, source)

    settings = settings_of(environ, timeout=0.5)
    assert (settings.target.timeout, settings.sources["timeout"]) == (0.5, "keyword")


def test_a_variable_that_contradicts_the_one_in_use_is_reported():
    environ = {**KEYS, "LANGFUSE_BASE_URL": "https://a.example.com", "LANGFUSE_HOST": "https://b.example.com"}

    settings = settings_of(environ)

    assert settings.target.url.startswith("https://a.example.com/")
    assert complaints(settings) == ["LANGFUSE_HOST"]


def test_variables_that_agree_are_not_reported():
    environ = {
        **KEYS,
        "LANGFUSE_BASE_URL": "https://a.example.com",
        "LANGFUSE_HOST": "https://a.example.com/",
    }

    assert settings_of(environ).problems == ()


def test_overriding_another_tools_variable_is_explained_but_not_a_problem():
    settings = settings_of({"SOMATRACE_QUEUE_SIZE": "4096", "LANGFUSE_BUFFER_SIZE": "1000"})

    assert settings.queue_size == 4096
    assert settings.problems == ()
    assert settings.unused == {"LANGFUSE_BUFFER_SIZE": "replaced by SOMATRACE_QUEUE_SIZE"}


# -- Langfuse ---------------------------------------------------------------------------------------


def test_langfuse_gets_basic_auth_and_its_required_headers():
    target = settings_of(LANGFUSE).target

    assert target.kind == "langfuse"
    assert target.url == "https://langfuse.example.com/api/public/otel/v1/traces"
    assert target.headers == {
        "Authorization": "Basic " + base64.b64encode(b"pk-lf-1:sk-lf-1").decode(),
        "x-langfuse-ingestion-version": "4",
        "x-langfuse-sdk-name": "somatrace",
        "x-langfuse-sdk-version": semconv.VERSION,
    }


def test_the_sdk_version_sent_to_langfuse_is_the_package_version():
    assert version("somatrace") == semconv.VERSION


@pytest.mark.parametrize(
    "host",
    [
        "http://lf:3000",
        "http://lf:3000/",
        "http://lf:3000/api/public",
        "http://lf:3000/api/public/otel",
        "http://lf:3000/api/public/otel/",
        "http://lf:3000/api/public/otel/v1/traces",
    ],
)
def test_any_leading_part_of_the_otlp_url_is_accepted_as_the_host(host):
    assert (
        settings_of({**KEYS, "LANGFUSE_HOST": host}).target.url == "http://lf:3000/api/public/otel/v1/traces"
    )


def test_langfuse_always_uses_http_protobuf_and_gzip_or_none():
    settings = settings_of(
        {**LANGFUSE, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_COMPRESSION": "deflate"}
    )

    assert (settings.target.protocol, settings.target.compression) == ("http/protobuf", "gzip")
    assert complaints(settings) == ["OTEL_EXPORTER_OTLP_COMPRESSION"]


def test_headers_for_an_otlp_backend_are_never_sent_to_langfuse():
    settings = settings_of({**LANGFUSE, "OTEL_EXPORTER_OTLP_HEADERS": "x-api-key=planted"})

    assert "x-api-key" not in settings.target.headers
    assert "OTEL_EXPORTER_OTLP_HEADERS" in settings.unused


def test_langfuse_keys_are_never_sent_to_an_otlp_backend():
    target = settings_of({**LANGFUSE, **COLLECTOR, "SOMATRACE_TARGET": "otlp"}).target

    assert target == Target("otlp", "http://collector:4318/v1/traces")


def test_somatrace_headers_are_sent_to_langfuse_but_cannot_replace_its_keys():
    target = settings_of(LANGFUSE, headers={"X-Gateway": "g", "authorization": "Bearer planted"}).target

    assert target.headers["x-gateway"] == "g"
    assert {name.lower() for name in target.headers if target.headers[name] == "Bearer planted"} == set()


@pytest.mark.parametrize("missing", sorted(KEYS))
def test_one_langfuse_key_alone_sends_nothing(missing):
    environ = {**LANGFUSE, **COLLECTOR}
    del environ[missing]

    settings = settings_of(environ)

    assert settings.target == Target("none")
    assert complaints(settings) == [missing]


def test_keys_without_a_host_never_fall_back_to_a_cloud():
    settings = settings_of(KEYS)

    assert settings.target == Target("local")
    assert complaints(settings) == ["LANGFUSE_BASE_URL"]


def test_swapped_keys_are_detected_before_they_are_sent():
    settings = settings_of({**LANGFUSE, "LANGFUSE_PUBLIC_KEY": "sk-lf-1", "LANGFUSE_SECRET_KEY": "pk-lf-1"})

    assert settings.target == Target("none")
    assert complaints(settings) == ["LANGFUSE_PUBLIC_KEY"]


def test_certificates_of_an_otlp_backend_are_not_used_for_langfuse():
    certificate = {"OTEL_EXPORTER_OTLP_CERTIFICATE": "/etc/ca.pem"}

    assert settings_of({**LANGFUSE, **certificate}).target.certificate == "/etc/ca.pem"
    assert settings_of({**LANGFUSE, **COLLECTOR, **certificate}).target.certificate == ""


@pytest.mark.parametrize(
    ("host", "warned"),
    [
        ("http://langfuse.example.com", True),
        ("https://langfuse.example.com", False),
        ("http://langfuse", False),
        ("http://langfuse.observability.svc.cluster.local:3000", False),
        ("http://127.0.0.1:3000", False),
        ("http://[::1]:3000", False),
    ],
)
def test_keys_over_plain_http_to_a_public_host_are_reported(host, warned):
    assert bool(settings_of({**KEYS, "LANGFUSE_HOST": host}).problems) is warned


# -- OTLP -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "http://c:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/"}, "http://c:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c/otlp/"}, "https://c/otlp/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/in"}, "http://c:4318/in"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318"}, "http://c:4318/"),
        ({"SOMATRACE_ENDPOINT": "http://c:4318"}, "http://c:4318/v1/traces"),
        ({"SOMATRACE_ENDPOINT": "http://c:4318/in"}, "http://c:4318/in"),
    ],
)
def test_endpoints_get_the_path_from_the_specification(environ, url):
    assert settings_of(environ).target.url == url


@pytest.mark.parametrize(
    ("endpoint", "environ", "address", "insecure"),
    [
        ("http://c:4317", {}, "c:4317", True),
        ("https://c:4317", {}, "c:4317", False),
        ("https://c", {}, "c:443", False),
        ("c:4317", {}, "c:4317", False),
        ("c", {}, "c:4317", False),
        ("c:4317", {"OTEL_EXPORTER_OTLP_INSECURE": "true"}, "c:4317", True),
        ("https://c:4317", {"OTEL_EXPORTER_OTLP_INSECURE": "true"}, "c:4317", False),
        ("http://[::1]:4317", {}, "[::1]:4317", True),
    ],
)
def test_a_grpc_endpoint_is_host_and_port_and_secure_by_default(endpoint, environ, address, insecure):
    environ = {**environ, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}

    target = settings_of(environ).target

    assert (target.protocol, target.url, target.insecure) == ("grpc", address, insecure)


@pytest.mark.parametrize(
    "endpoint",
    [
        "collector:4318",
        "ftp://c",
        "http://",
        "http://user:planted@c",
        "http://c:99999",
        "http://c:0",
        "http://[::1",
        "http://c/\r\nHost: x",
        "http://c d",
        "http://c/#x",
    ],
)
def test_an_unusable_endpoint_keeps_spans_in_the_local_store(endpoint):
    settings = settings_of({"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint})

    assert settings.target == Target("local")
    assert complaints(settings) == ["OTEL_EXPORTER_OTLP_ENDPOINT"]
    assert "planted" not in str(settings.problems)


def test_headers_are_comma_separated_and_percent_decoded():
    settings = settings_of({**COLLECTOR, "OTEL_EXPORTER_OTLP_HEADERS": "X-Team=a%20b, x-token = YWJj== ,,"})

    assert settings.target.headers == {"x-team": "a b", "x-token": "YWJj=="}


@pytest.mark.parametrize(
    "bad",
    [
        "x=a%0d%0aHost:%20evil",
        "x=%00",
        "bad name=1",
        "=1",
        "alone",
        "x=%C3%A9",
        "Host=evil",
        "content-length=1",
    ],
)
def test_headers_that_could_alter_the_request_are_skipped(bad):
    settings = settings_of({**COLLECTOR, "OTEL_EXPORTER_OTLP_HEADERS": f"{bad},good=1"})

    assert settings.target.headers == {"good": "1"}
    assert complaints(settings) == ["OTEL_EXPORTER_OTLP_HEADERS"]


def test_signal_specific_headers_replace_general_ones():
    environ = {**COLLECTOR, "OTEL_EXPORTER_OTLP_HEADERS": "a=1", "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "b=2"}

    assert settings_of(environ).target.headers == {"b": "2"}


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/base/", "OTEL_EXPORTER_OTLP_TIMEOUT": "3"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/in", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://d"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_HEADERS": "A=b%20c, d = e=f,,g="},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "api-key=a b"},
    ],
)
def test_headers_are_parsed_like_opentelemetrys_own_exporter(environ, monkeypatch):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    exporter = OTLPSpanExporter()

    target = settings_of(environ).target

    assert target.url == exporter._endpoint
    client = getattr(exporter, "_client", exporter)  # SDKs before 1.45 keep them on the exporter
    assert target.timeout == client._timeout
    its_own = ("content-type", "user-agent")
    assert target.headers == {name: value for name, value in client._headers.items() if name not in its_own}


def test_limits_and_samplers_use_the_sdks_names():
    limits = SdkLimits(**asdict(SpanLimits()))

    assert {field.name: getattr(limits, field.name) for field in fields(SpanLimits)} == asdict(SpanLimits())
    for name in _KNOWN_SAMPLERS:
        assert settings_of({"OTEL_TRACES_SAMPLER": name}).sampler == name


def test_a_timeout_in_milliseconds_is_detected():
    settings = settings_of({**COLLECTOR, "OTEL_EXPORTER_OTLP_TIMEOUT": "10000"})

    assert settings.target.timeout == 10.0
    assert complaints(settings) == ["OTEL_EXPORTER_OTLP_TIMEOUT"]


def test_a_client_certificate_without_its_key_is_not_used():
    settings = settings_of({**COLLECTOR, "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": "/etc/client.pem"})

    assert settings.target.client_certificate == ""
    assert complaints(settings) == ["OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"]


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({**KEYS, "LANGFUSE_HOST": "http://langfuse.example.com"}, "LANGFUSE_HOST"),
        ({**KEYS, "SOMATRACE_LANGFUSE_HOST": "http://langfuse.example.com"}, "SOMATRACE_LANGFUSE_HOST"),
        ({**KEYS, "LANGFUSE_HOST": "langfuse.example.com:3000"}, "LANGFUSE_HOST"),
        (
            {
                "SOMATRACE_LANGFUSE_PUBLIC_KEY": "sk-lf-1",
                "SOMATRACE_LANGFUSE_SECRET_KEY": "pk-lf-1",
                "LANGFUSE_HOST": "https://langfuse.example.com",
            },
            "SOMATRACE_LANGFUSE_PUBLIC_KEY",
        ),
        (
            {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "100", "SOMATRACE_QUEUE_SIZE": "10"},
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        ),
    ],
)
def test_a_problem_names_the_variable_that_is_set(environ, named):
    assert complaints(settings_of(environ)) == [named]


@pytest.mark.parametrize(
    "environ",
    [
        {**KEYS},
        {**KEYS, "LANGFUSE_HOST": "langfuse.example.com:3000"},
        {"LANGFUSE_PUBLIC_KEY": "pk-lf-1", "LANGFUSE_HOST": "https://langfuse.example.com"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
    ],
)
def test_a_target_that_stands_in_for_the_configured_one_says_why(environ):
    settings = settings_of(environ)

    assert settings.target.kind in ("local", "none")
    assert settings.target.unusable in map(str, settings.problems)


def test_somatrace_settings_override_variables_injected_by_an_operator():
    environ = {**LANGFUSE, **COLLECTOR}

    assert settings_of(environ, endpoint="http://mine:4318").target.url == "http://mine:4318/v1/traces"
    assert settings_of(environ, langfuse_host="http://mine").target.url.startswith("http://mine/api/")


def test_opentelemetry_distro_does_not_override_langfuse():
    environ = {**LANGFUSE, "OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}

    assert settings_of(environ).target.kind == "langfuse"


# -- switches ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "enabled"),
    [
        ({"SOMATRACE_ENABLED": "false"}, False),
        ({"SOMATRACE_ENABLED": " OFF "}, False),
        ({"SOMATRACE_ENABLED": "nonsense"}, False),
        ({"OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_SDK_DISABLED": "nonsense"}, True),
        ({"LANGFUSE_ENABLED": "0"}, False),
        ({"LANGFUSE_TRACING_ENABLED": "False"}, False),
        ({"TRACELOOP_TRACING_ENABLED": "false"}, False),
        ({"OTEL_SDK_DISABLED": "false", "LANGFUSE_ENABLED": "false"}, False),
        ({"SOMATRACE_ENABLED": "true", "LANGFUSE_ENABLED": "false"}, True),
    ],
)
def test_any_usual_switch_turns_tracing_off_unless_somatrace_enabled_is_set(environ, enabled):
    assert settings_of(environ).enabled is enabled


def test_the_first_switch_that_is_off_is_named():
    settings = settings_of({"OTEL_SDK_DISABLED": "true", "LANGFUSE_ENABLED": "false"})

    assert settings.sources["enabled"] == "OTEL_SDK_DISABLED"


GENAI = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


@pytest.mark.parametrize(
    ("environ", "content"),
    [
        ({"TRACE_CONTENT": "true"}, "redacted"),
        ({"TRACE_CONTENT": " YES "}, "redacted"),
        ({"TRACE_CONTENT": "full"}, "none"),
        ({"TRACELOOP_TRACE_CONTENT": "1"}, "redacted"),
        ({GENAI: "span_only"}, "redacted"),
        ({GENAI: "SPAN_AND_EVENT"}, "redacted"),
        ({GENAI: "EVENT_ONLY"}, "none"),
        ({GENAI: "NO_CONTENT"}, "none"),
        ({GENAI: "true", "TRACELOOP_TRACE_CONTENT": "true", "TRACE_CONTENT": "false"}, "none"),
        ({GENAI: "nonsense", "TRACE_CONTENT": "true"}, "none"),
        ({"SOMATRACE_CONTENT": "never", "TRACE_CONTENT": "true"}, "never"),
        ({"SOMATRACE_CONTENT": "redacted", "TRACE_CONTENT": "false"}, "redacted"),
        ({"SOMATRACE_CONTENT": "full", "TRACE_CONTENT": "true"}, "none"),
    ],
)
def test_the_most_restrictive_content_switch_wins_unless_somatrace_content_is_set(environ, content):
    assert settings_of(environ).content == content


def test_full_content_cannot_be_enabled_process_wide():
    assert complaints(settings_of({"SOMATRACE_CONTENT": "full"})) == ["SOMATRACE_CONTENT"]


# -- sampling, limits, resource ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "sampler", "rate"),
    [
        ({}, "parentbased_always_on", 1.0),
        ({"SOMATRACE_SAMPLE_RATE": "0.25"}, "parentbased_traceidratio", 0.25),
        ({"LANGFUSE_SAMPLE_RATE": "0.5"}, "parentbased_traceidratio", 0.5),
        ({"LANGFUSE_SAMPLING_RATE": "0"}, "parentbased_traceidratio", 0.0),
        ({"LANGFUSE_SAMPLE_RATE": "1.5"}, "parentbased_traceidratio", 1.0),
        ({"LANGFUSE_SAMPLE_RATE": "nan"}, "parentbased_traceidratio", 1.0),
        ({"OTEL_TRACES_SAMPLER": "Always_Off"}, "always_off", 1.0),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.1"}, "traceidratio", 0.1),
        ({"OTEL_TRACES_SAMPLER": "traceidratio"}, "traceidratio", 1.0),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "-1"}, "traceidratio", 1.0),
        ({"OTEL_TRACES_SAMPLER": "jaeger_remote"}, "parentbased_always_on", 1.0),
        ({"OTEL_TRACES_SAMPLER": "always_on", "LANGFUSE_SAMPLE_RATE": "0.5"}, "always_on", 1.0),
        (
            {"OTEL_TRACES_SAMPLER": "always_on", "SOMATRACE_SAMPLE_RATE": "0.5"},
            "parentbased_traceidratio",
            0.5,
        ),
        (
            {"LANGFUSE_ENABLE_SAMPLING": "false", "SOMATRACE_SAMPLE_RATE": "0.5"},
            "parentbased_traceidratio",
            1.0,
        ),
        (
            {"LANGFUSE_ENABLE_SAMPLING": "true", "LANGFUSE_SAMPLE_RATE": "0.5"},
            "parentbased_traceidratio",
            0.5,
        ),
    ],
)
def test_sampling_follows_somatrace_then_opentelemetry_then_langfuse(environ, sampler, rate):
    settings = settings_of(environ)

    assert (settings.sampler, settings.sample_rate) == (sampler, rate)


def test_span_limits_fall_back_from_the_specific_to_the_general_variable():
    limits = settings_of(
        {
            "OTEL_ATTRIBUTE_COUNT_LIMIT": "64",
            "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": "8",
            "OTEL_SPAN_LINK_COUNT_LIMIT": "x",
        }
    ).span_limits

    assert limits == SpanLimits(max_span_attributes=64, max_event_attributes=8, max_link_attributes=64)


def test_resource_attributes_keep_valid_entries_and_exclude_settings():
    settings = settings_of(
        {
            "OTEL_RESOURCE_ATTRIBUTES": "service.name=other,service.version=7,deployment.environment=prod,"
            "k8s.pod.name=a%2Cb,broken,evil=%0a"
        }
    )

    assert settings.resource_attributes == {"k8s.pod.name": "a,b"}
    assert (settings.service_name, settings.service_version, settings.environment) == (
        "orchestrator",
        "7",
        "prod",
    )
    assert complaints(settings) == ["OTEL_RESOURCE_ATTRIBUTES"]


@pytest.mark.parametrize(
    ("value", "kept", "problem"),
    [
        ("production", "production", False),
        ("Production", "Production", False),
        ("Prod EU!", "Prod EU!", True),
        ("langfuse-eu", "langfuse-eu", True),
        ("e" * 41, "e" * 41, True),
        ("prod\x1b[31m", "", True),
        ("e" * 201, "", True),
    ],
)
def test_an_environment_langfuse_would_change_is_kept_if_it_is_short_text(value, kept, problem):
    settings = settings_of({"LANGFUSE_TRACING_ENVIRONMENT": value})

    assert settings.environment == kept
    assert bool(settings.problems) is problem


def test_the_literal_service_name_wins_and_doctor_explains_it():
    settings = settings_of({"OTEL_SERVICE_NAME": "injected"})

    assert settings.service_name == "orchestrator"
    assert settings.unused["OTEL_SERVICE_NAME"] == "replaced by 'orchestrator', the name given in the code"
    assert settings_of({"OTEL_SERVICE_NAME": "orchestrator"}).unused == {}


def test_an_unusable_service_name_is_a_problem_with_a_fallback():
    assert resolve("", None, {}).service_name == "unknown_service"
    assert resolve("bad\nname", None, {"OTEL_SERVICE_NAME": "injected"}).service_name == "injected"
    assert complaints(resolve("", None, {})) == ["service_name"]


def test_only_the_two_w3c_propagators_are_accepted():
    assert settings_of({"OTEL_PROPAGATORS": "tracecontext"}).propagators == ("tracecontext",)
    assert settings_of({"OTEL_PROPAGATORS": "none"}).propagators == ()
    settings = settings_of({"OTEL_PROPAGATORS": "b3,tracecontext,baggage"})
    assert settings.propagators == ("tracecontext", "baggage")
    assert complaints(settings) == ["OTEL_PROPAGATORS"]


def test_a_batch_is_never_larger_than_the_queue():
    settings = settings_of({"OTEL_BSP_MAX_QUEUE_SIZE": "100", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "500"})

    assert settings.batch_size == 100
    assert settings.problems


# -- sampling rules ---------------------------------------------------------------------------------


def test_rules_that_are_none_are_skipped_and_reported():
    rules = (
        "tenant=a:0.5, tenant=b, region=c:1, tenant=d:2, tenant=:1, tenant=e tenant=f:1, :1, workflow=g h:off"
    )

    settings = settings_of({"SOMATRACE_SAMPLE_RULES": rules})

    assert settings.sample_rules == ("tenant=a:0.5", "workflow=g h:off")
    assert complaints(settings) == ["SOMATRACE_SAMPLE_RULES"]


def test_rules_of_the_code_win_and_langfuses_switch_turns_all_off():
    assert settings_of(
        {"SOMATRACE_SAMPLE_RULES": "tenant=a:1"}, sample_rules=["tenant=b:0"]
    ).sample_rules == ("tenant=b:0",)
    assert (
        settings_of(
            {"SOMATRACE_SAMPLE_RULES": "tenant=a:0", "LANGFUSE_ENABLE_SAMPLING": "false"}
        ).sample_rules
        == ()
    )


# -- trust ------------------------------------------------------------------------------------------


def test_only_valid_networks_are_trusted():
    settings = settings_of({"SOMATRACE_TRUST": "10.0.0.1/8, ::1, gateway"})

    assert settings.trust == ("10.0.0.0/8", "::1/128")
    assert complaints(settings) == ["SOMATRACE_TRUST"]


def test_signing_keys_need_an_id_and_sixteen_bytes():
    settings = settings_of({"SOMATRACE_TRUST_KEYS": f"a:{SIGNING_KEY},b:c2hvcnQ=,:{SIGNING_KEY},c:%%"})

    assert settings.trust_keys == f"a:{SIGNING_KEY}"
    assert complaints(settings) == ["SOMATRACE_TRUST_KEYS"]


def test_tags_cannot_be_sent_to_all_hosts():
    settings = settings_of(propagate_to=["api.example.com", "*.Example.org", "*", "a b"])

    assert settings.propagate_to == ("api.example.com", "*.example.org")
    assert complaints(settings) == ["Config.propagate_to"]


def test_an_unreadable_edge_switch_trusts_no_caller():
    assert settings_of({"SOMATRACE_EDGE": "perhaps"}).edge


# -- data directory ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "named", "state"),
    [
        ({"SOMATRACE_DATA_DIR": "/data", "HOME": "/home/u"}, "/data", ""),
        ({"XDG_STATE_HOME": "/state", "HOME": "/home/u"}, "", "/state"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/home/u"}, "", ""),
        ({}, "", ""),
    ],
)
def test_only_a_configured_directory_is_the_data_directory(environ, named, state):
    settings = settings_of(environ)

    assert (settings.data_dir, settings.state_home) == (named, state)


# -- secrets from files -----------------------------------------------------------------------------


def test_a_secret_is_read_from_its_file_and_again_after_a_rotation(tmp_path):
    secret = tmp_path / "key"
    secret.write_text("sk-lf-old\n")
    environ = {
        "LANGFUSE_PUBLIC_KEY": "pk-lf-1",
        "LANGFUSE_HOST": "http://lf",
        "LANGFUSE_SECRET_KEY_FILE": str(secret),
    }
    settings = settings_of(environ)
    secret.write_text("sk-lf-new\n")

    fresh = refresh("orchestrator", None, environ)

    assert settings.sources["langfuse_secret_key"] == "LANGFUSE_SECRET_KEY_FILE"
    assert (
        settings.target.headers["Authorization"] == "Basic " + base64.b64encode(b"pk-lf-1:sk-lf-old").decode()
    )
    assert fresh.headers["Authorization"] == "Basic " + base64.b64encode(b"pk-lf-1:sk-lf-new").decode()


@pytest.mark.parametrize("name", sorted(IN_FILES))
def test_every_secret_can_be_read_from_a_file(name, tmp_path):
    file = tmp_path / "secret"
    value = "sk-lf-1" if "SECRET" in name else "pk-lf-1"
    value = f"a:{SIGNING_KEY}" if "TRUST" in name else "x-key=1" if "HEADERS" in name else value
    file.write_text(f"  {value * 3 if 'PSEUDONYM' in name else value}\n")
    base = (
        COLLECTOR if "HEADERS" in name else {key: LANGFUSE[key] for key in LANGFUSE if not name.endswith(key)}
    )

    settings = settings_of({**base, f"{name}_FILE": str(file)})

    assert f"{name}_FILE" in settings.sources.values()
    assert settings.problems == ()


def test_an_unreadable_secret_file_counts_as_a_missing_key(tmp_path):
    big = tmp_path / "big"
    big.write_bytes(b"k" * (MAX_FILE + 1))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\xfd")
    empty = tmp_path / "empty"
    empty.touch()
    for path in (tmp_path / "absent", tmp_path, big, pipe, binary, empty, "bad\0path"):
        environ = {**LANGFUSE, "LANGFUSE_SECRET_KEY_FILE": str(path)}
        del environ["LANGFUSE_SECRET_KEY"]

        settings = settings_of(environ)

        assert settings.target == Target("none")
        assert complaints(settings) == ["LANGFUSE_SECRET_KEY_FILE", "LANGFUSE_SECRET_KEY"]


def test_a_variable_set_together_with_its_file_is_used_and_reported(tmp_path):
    settings = settings_of({**LANGFUSE, "LANGFUSE_SECRET_KEY_FILE": str(tmp_path / "key")})

    assert settings.target.kind == "langfuse"
    assert complaints(settings) == ["LANGFUSE_SECRET_KEY_FILE"]


SECRETS = {
    "SOMATRACE_HEADERS": "x-key=planted-secret-value",
    "SOMATRACE_LANGFUSE_PUBLIC_KEY": "planted-secret-value",
    "SOMATRACE_LANGFUSE_SECRET_KEY": "planted-secret-value",
    "SOMATRACE_TRUST_KEYS": "planted-secret-value:cGxhbnRlZC1zZWNyZXQtdmFsdWU=",
    "SOMATRACE_PSEUDONYM_KEY": "planted-secret-value",
    "OTEL_EXPORTER_OTLP_HEADERS": "x-key=planted-secret-value",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "x-key=planted-secret-value",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/?token=planted-secret-value",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/in?token=planted-secret-value",
    "LANGFUSE_PUBLIC_KEY": "planted-secret-value",
    "LANGFUSE_SECRET_KEY": "planted-secret-value",
    "LANGFUSE_HOST": "http://u:planted-secret-value@lf",
    "LANGFUSE_INGESTION_TOKEN": "planted-secret-value",
}


@given(st.sets(st.sampled_from(sorted(SECRETS))), st.sampled_from(["", "\n", "é", " x"]))
def test_no_secret_appears_in_a_repr_a_problem_or_an_explanation(given_names, spoiling):
    settings = settings_of({name: SECRETS[name] + spoiling for name in given_names})

    shown = f"{settings!r} {settings.target!r} {settings.problems} {explain(settings)} {settings.sources}"

    assert "planted-secret" not in shown
    assert base64.b64encode(b"planted-secret-value").decode()[:12] not in shown


def test_no_secret_appears_in_the_repr_of_a_config():
    config = Config(headers={"a": "planted"}, langfuse_secret_key="planted", langfuse_public_key="planted",
                    trust_keys="planted", pseudonym_key="planted", client_key="planted")  # fmt: skip

    assert "planted" not in repr(config)


# -- .env -------------------------------------------------------------------------------------------


def test_a_dotenv_file_is_read_only_if_named_and_the_process_takes_precedence(tmp_path):
    file = tmp_path / ".env"
    file.write_text("SOMATRACE_DEFAULT_TENANT=from-file\nSOMATRACE_RELEASE=1\n")
    process = {"SOMATRACE_ENV_FILE": str(file), "SOMATRACE_RELEASE": "2"}

    settings = settings_of(process)

    assert (settings.default_tenant, settings.release) == ("from-file", "2")
    assert settings.sources["default_tenant"] == "SOMATRACE_DEFAULT_TENANT (env file)"
    assert settings_of(env_file=str(file)).release == "1"
    assert settings_of().default_tenant == "unknown"


def test_quotes_comments_and_export_are_supported():
    variables, wrong = parse_env(
        "# comment\n"
        "A=1\n"
        "export B = two words # comment\n"
        "C='# $literal \\n'\n"
        'D="line\\nbreak \\"quoted\\"" # comment\n'
        "E=\n"
        "F=a#b\n"
        "G=#\n"
        "no assignment\n"
        "H='open\n"
        "\r\n"
        "1BAD=x"
    )

    assert variables == {
        "A": "1",
        "B": "two words",
        "C": "# $literal \\n",
        "D": 'line\nbreak "quoted"',
        "E": "",
        "F": "a#b",
        "G": "",
    }
    assert wrong == [9, 10, 12]


def test_an_unreadable_dotenv_file_is_reported(tmp_path):
    file = tmp_path / ".env"
    file.write_text("planted secret\n")

    assert complaints(settings_of(env_file=str(tmp_path / "absent"))) == ["Config.env_file"]
    settings = settings_of({"SOMATRACE_ENV_FILE": str(file)})
    assert complaints(settings) == ["SOMATRACE_ENV_FILE"]
    assert "planted" not in str(settings.problems)


def test_an_oversized_dotenv_file_is_not_read(tmp_path):
    file = tmp_path / ".env"
    file.write_text("SOMATRACE_RELEASE=1\n" + "#" * MAX_FILE)

    settings = settings_of({"SOMATRACE_ENV_FILE": str(file)})

    assert settings.release == ""
    assert complaints(settings) == ["SOMATRACE_ENV_FILE"]


# -- problems ---------------------------------------------------------------------------------------


def test_check_raises_one_line_per_problem():
    with pytest.raises(ConfigError) as caught:
        Config(sample_rate=2.0, target="langfuze").check({"SOMATRACE_TIMEOUT": "x", **COLLECTOR})

    assert sorted(str(caught.value).splitlines()) == [
        "Config.sample_rate: use a number from 0 to 1",
        "Config.target: use one of langfuse, otlp, local, console, none",
    ]


def test_check_accepts_usable_settings():
    Config(target="local", sample_rate=0.5, trust=["10.0.0.0/8"]).check({})


WORDS = st.text(max_size=40) | st.sampled_from(
    [
        "1",
        "0",
        "-1",
        "true",
        "nan",
        "1e999",
        "9" * 5000,
        "http://h",
        "a=b",
        "a=%",
        "\0",
        "\ud800",
        "://",
        "[",
        "none",
    ]
)
VARIABLES = sorted(
    {variable.name for spec in SPECS for variable in spec.variables}
    | {f"{name}_FILE" for name in IN_FILES}
    | {"OTEL_TRACES_EXPORTER", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG", "OTEL_PROPAGATORS"}
    | {
        "OTEL_RESOURCE_ATTRIBUTES",
        "OTEL_SERVICE_NAME",
        "OTEL_SPAN_EVENT_COUNT_LIMIT",
        "TRACE_CONTENT",
        "HOME",
    }
)


@given(st.dictionaries(st.sampled_from(VARIABLES), WORDS, max_size=12))
def test_no_environment_makes_resolve_or_explain_raise(environ):
    settings = settings_of(environ)

    assert explain(settings)
    assert settings.target.kind in ("langfuse", "otlp", "local", "console", "none")
    assert 0.0 <= settings.sample_rate <= 1.0
    assert settings.content in ("never", "none", "redacted")
    assert all(name.isascii() and value.isprintable() for name, value in settings.target.headers.items())
    assert all("\n" not in str(problem) for problem in settings.problems)
    assert pickle.loads(pickle.dumps(settings)) == settings


ANYTHING = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | WORDS
    | st.lists(WORDS | st.integers())
    | st.binary()
)


@given(st.dictionaries(st.sampled_from(sorted(BY_NAME)), ANYTHING, max_size=8), ANYTHING)
def test_no_value_in_code_makes_resolve_raise(values, service_name):
    settings = resolve(service_name, Config(**values), LANGFUSE)

    assert explain(settings)
    assert settings.service_name.isprintable()


# -- explain ----------------------------------------------------------------------------------------


def test_explain_gives_value_source_and_purpose_of_every_setting():
    lines = {line.setting: line for line in explain(settings_of({**LANGFUSE, "LANGFUSE_RELEASE": "7"}))}

    assert set(BY_NAME) <= set(lines)
    assert (lines["release"].value, lines["release"].source) == ("7", "LANGFUSE_RELEASE")
    assert lines["langfuse_secret_key"].value == "****"
    assert lines["target"].source == "LANGFUSE_HOST"
    assert lines["trust"].source == "default"


def test_explain_notes_that_langfuse_itself_expects_basic_auth():
    lines = explain(settings_of({**COLLECTOR, "OTEL_EXPORTER_OTLP_HEADERS": "x-langfuse-secret=planted"}))

    assert [line.why for line in lines if line.setting == "x-langfuse-* headers"] != []
    assert "planted" not in str(lines)


def test_explain_names_the_replacement_for_variables_of_an_unused_target():
    settings = settings_of({**COLLECTOR, "LANGFUSE_HOST": "http://lf", "TRACELOOP_API_KEY": "planted"})

    assert set(settings.unused) == {"LANGFUSE_HOST", "TRACELOOP_API_KEY"}
    assert "otlp" in settings.unused["LANGFUSE_HOST"]


@pytest.mark.parametrize(
    ("environ", "sampler"),
    [
        ({"OTEL_TRACES_SAMPLER_ARG": "0.5"}, "parentbased_always_on (default)"),
        (
            {"OTEL_TRACES_SAMPLER": "always_on", "OTEL_TRACES_SAMPLER_ARG": "0.5"},
            "always_on (OTEL_TRACES_SAMPLER)",
        ),
        (
            {"OTEL_TRACES_SAMPLER": "always_on", "LANGFUSE_SAMPLE_RATE": "0.5"},
            "always_on (OTEL_TRACES_SAMPLER)",
        ),
    ],
)
def test_explain_names_the_sampler_that_takes_no_rate(environ, sampler):
    unused = settings_of(environ).unused

    assert list(unused.values()) == [f"replaced by the sampler {sampler}, which takes no rate from it"]


# -- the package itself -----------------------------------------------------------------------------


@pytest.mark.usefixtures("unmeasured")
def test_importing_the_settings_loads_no_network_and_no_tls():
    heavy = "{'ssl', 'socket', 'urllib.request', 'opentelemetry'}"
    program = f"import sys, somatrace.config; print(sorted({heavy} & {{*sys.modules}}))"

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=180, check=True
    )

    assert done.stdout.strip() == "[]"


# -- docs/configuration.md --------------------------------------------------------------------------

GUIDE = (ROOT / "docs" / "configuration.md").read_text()
ROWS = re.findall(r"^\| (.*?) \| (langfuse|otlp|local|console|none) \| (yes|no) \|$", GUIDE, re.MULTILINE)
EXAMPLES = re.findall(r"```env\n(.*?)```\n\ngives ([^\n]*)", GUIDE, re.DOTALL)


@pytest.mark.parametrize(("given_variables", "kind", "problem"), ROWS)
def test_the_guides_table_of_targets_is_correct(given_variables, kind, problem):
    environ = dict(pair.split("=", 1) for pair in re.findall(r"`([^`]+)`", given_variables))

    settings = settings_of(environ)

    assert (settings.target.kind, "yes" if settings.problems else "no") == (kind, problem)


def test_the_guide_shows_every_kind_of_target():
    assert {kind for _, kind, _ in ROWS} == {"langfuse", "otlp", "local", "console", "none"}


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_guides_examples_give_the_documented_values(example, tmp_path):
    content, gives = example
    file = tmp_path / ".env"
    file.write_text(content)

    settings = settings_of(env_file=str(file))

    assert settings.problems == ()
    expected = dict(pair.split("=", 1) for pair in re.findall(r"`([^`]+)`", gives))
    assert {setting: said(settings)[setting] for setting in expected} == expected


@pytest.mark.parametrize("program", re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL))
def test_the_guides_programs_run(program):
    exec(compile(ast.parse(program), "docs/configuration.md", "exec"), {})


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_the_guide_lists_every_setting_with_its_variables_and_description(spec):
    variables = ", ".join(f"`{variable.name}`" for variable in spec.variables)
    rows = [row for row in GUIDE.splitlines() if row.startswith(f"| {variables} |")]

    assert len(rows) == 1
    assert rows[0].endswith(f"| {spec.why} |")


def test_the_guide_lists_every_secret_that_can_be_read_from_a_file():
    section = GUIDE.split("## Secrets from files")[1].split("##")[0]

    assert {name for name in re.findall(r"`([A-Z_]+)`", section) if name != "_FILE"} == IN_FILES
