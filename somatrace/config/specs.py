"""Every setting: the variables it is looked up in after `SOMATRACE_<NAME>`, in order, and how it is read.

This table is the precedence of docs/configuration.md and the source of what `explain` says. Settings
that several variables decide together (content, sampling, ...) have their rules in `rules`, and the
target in `targeting`; here they are listed with their names and their reasons.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from somatrace import semconv
from somatrace.config import urls_and_headers
from somatrace.config.parsers import (
    Parser,
    boolean,
    choice,
    host_pattern,
    keys,
    network,
    number,
    pseudonym_key,
    secret,
    several,
    text,
    whole,
)
from somatrace.config.settings import Settings, Target

MILLISECONDS: Final = 0.001
#: attributes of OTEL_RESOURCE_ATTRIBUTES that are settings here
VERSION_ATTRIBUTE: Final = semconv.SERVICE_VERSION
ENVIRONMENT_ATTRIBUTES: Final = (semconv.ENVIRONMENT, "deployment.environment")

_SETTINGS: Final = Settings()
_TARGET: Final = Target("local")
_TIMEOUT_ADVICE: Final = "use seconds from 0.001 to 600, as OpenTelemetry in Python does, not milliseconds"


class ForeignVariable(NamedTuple):
    """A variable users already have, and how it is read where that differs from the setting's own way."""

    name: str
    parse: Parser | None = None


class SettingSpec(NamedTuple):
    """One setting. `safe` is what a value that cannot be used becomes."""

    name: str
    why: str
    parse: Parser
    others: tuple[ForeignVariable, ...] = ()
    default: Any = None
    safe: Any = None
    secret: bool = False

    @property
    def variable(self) -> str:
        return f"SOMATRACE_{self.name.upper()}"

    @property
    def variables(self) -> tuple[ForeignVariable, ...]:
        """All variables, the strongest first."""
        return (ForeignVariable(self.variable), *self.others)


def _spec(name: str, why: str, parse: Parser, *others: str | ForeignVariable, **options: Any) -> SettingSpec:
    """A spec whose default is that of Settings (or of Target) and whose safe side is that default."""
    default = getattr(_SETTINGS, name, getattr(_TARGET, name, ""))
    given = tuple(ForeignVariable(other) if isinstance(other, str) else other for other in others)
    return SettingSpec(name, why, parse, given, **{"default": default, "safe": default, **options})


def _otlp(
    name: str, *, exact: Parser | None = None, base: Parser | None = None
) -> tuple[ForeignVariable, ForeignVariable]:
    return ForeignVariable(f"OTEL_EXPORTER_OTLP_TRACES_{name}", exact), ForeignVariable(
        f"OTEL_EXPORTER_OTLP_{name}", base
    )


SPECS: Final = (
    _spec("enabled", "false switches tracing off; spans cost nothing then", boolean, safe=False),
    _spec(
        "target",
        "where spans go, as a whole: langfuse, otlp, local, console, none; else what is configured decides",
        choice("langfuse", "otlp", "local", "console", "none"),
        default=None,
        safe="local",
    ),
    _spec(
        "endpoint",
        "URL of an OTLP backend; without a path it gets /v1/traces",
        urls_and_headers.endpoint,
        *_otlp("ENDPOINT", exact=urls_and_headers.exact_endpoint, base=urls_and_headers.base_endpoint),
    ),
    _spec(
        "headers",
        "name=value,name=value sent with each batch, percent-encoded",
        urls_and_headers.headers,
        *_otlp("HEADERS"),
        default={},
        safe={},
        secret=True,
    ),
    _spec(
        "protocol",
        "http/protobuf, or grpc with the extra of that name",
        choice("http/protobuf", "grpc"),
        *_otlp("PROTOCOL"),
    ),
    _spec(
        "timeout",
        "seconds one batch may take, connecting included",
        number(0.001, 600.0, advice=_TIMEOUT_ADVICE),
        *_otlp("TIMEOUT"),
        ForeignVariable("OTEL_BSP_EXPORT_TIMEOUT", number(0.001, 600.0, unit=MILLISECONDS)),
        "LANGFUSE_TIMEOUT",
    ),
    _spec(
        "compression",
        "gzip, deflate or none; gzip costs little and saves nine tenths of the traffic",
        choice("none", "gzip", "deflate"),
        *_otlp("COMPRESSION"),
    ),
    _spec(
        "certificate",
        "file of the certificate authority to trust, for a private one",
        text(),
        *_otlp("CERTIFICATE"),
    ),
    _spec(
        "client_certificate",
        "file of the client certificate, for mutual TLS",
        text(),
        *_otlp("CLIENT_CERTIFICATE"),
    ),
    _spec("client_key", "file of the client certificate's key", text(), *_otlp("CLIENT_KEY")),
    _spec(
        "insecure",
        "true means grpc without TLS where the endpoint has no scheme",
        boolean,
        *_otlp("INSECURE"),
    ),
    _spec(
        "langfuse_public_key",
        "project key of Langfuse; both keys and a host select Langfuse",
        secret,
        "LANGFUSE_PUBLIC_KEY",
        secret=True,
    ),
    _spec(
        "langfuse_secret_key",
        "secret key of the Langfuse project",
        secret,
        "LANGFUSE_SECRET_KEY",
        secret=True,
    ),
    _spec(
        "langfuse_host",
        "URL of the Langfuse server; never guessed, a cloud is never a fallback",
        urls_and_headers.langfuse_url,
        "LANGFUSE_BASE_URL",
        "LANGFUSE_HOST",
    ),
    _spec("service_version", "version shown with each span (service.version)", text(200)),
    _spec(
        "environment",
        "deployment environment; Langfuse takes a-z, 0-9, - and _, at most 40",
        text(200),
        "LANGFUSE_TRACING_ENVIRONMENT",
        "LANGFUSE_ENVIRONMENT",
    ),
    _spec("release", "release shown in Langfuse", text(200), "LANGFUSE_RELEASE"),
    _spec(
        "content",
        "what tenants without an entry in the policy file send: none or redacted; never closes all tenants",
        choice("never", "none", "redacted"),
    ),
    _spec("content_policy_file", "file that opens content per tenant", text()),
    _spec(
        "default_tenant",
        "tenant_id of spans for which nobody bound one; a label, its content stays none",
        text(200),
    ),
    _spec(
        "sample_rate",
        "share of traces kept, 0 to 1, decided where a trace starts",
        number(0.0, 1.0),
        "LANGFUSE_SAMPLE_RATE",
        "LANGFUSE_SAMPLING_RATE",
    ),
    _spec(
        "flush_interval",
        "seconds a finished span waits at most before it is sent",
        number(0.001, 3600.0),
        ForeignVariable("OTEL_BSP_SCHEDULE_DELAY", number(0.001, 3600.0, unit=MILLISECONDS)),
        "LANGFUSE_FLUSH_INTERVAL",
    ),
    _spec(
        "queue_size",
        "finished spans held in memory",
        whole(1, 1 << 20),
        "OTEL_BSP_MAX_QUEUE_SIZE",
        "LANGFUSE_BUFFER_SIZE",
    ),
    _spec("queue_bytes", "bytes of them; takes K, M, G", whole(1 << 16, 1 << 34)),
    _spec(
        "batch_size",
        "spans in one request",
        whole(1, 1 << 16),
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        "LANGFUSE_FLUSH_AT",
    ),
    _spec(
        "max_retries",
        "quick attempts before a target counts as away; spans are kept either way",
        whole(0, 1000),
        "LANGFUSE_MAX_RETRIES",
    ),
    _spec(
        "max_latency_ms",
        "milliseconds tracing may add to one workflow before it samples less; 0: no limit",
        number(0.0, 600_000.0),
        "LANGFUSE_MAX_LATENCY_MS",
    ),
    _spec(
        "data_dir", "directory of the local store and unsent spans; a volume lets them survive a pod", text()
    ),
    _spec(
        "local_max_bytes",
        "size of the local store, oldest spans go first; takes K, M, G",
        whole(1 << 20, 1 << 44),
    ),
    _spec("local_max_days", "days the local store keeps spans", number(0.01, 3650.0)),
    _spec(
        "trust",
        "networks (CIDR) of callers whose tags are believed",
        several(network, "use networks such as 10.0.0.0/8"),
    ),
    _spec("trust_keys", "keys of callers whose signed tags are believed, id:base64,...", keys, secret=True),
    _spec(
        "propagate_to",
        "hosts outside the cluster that are sent tags: api.example.com,*.example.org",
        several(host_pattern, "use host names, or *. and a domain; * alone is refused"),
    ),
    _spec("edge", "true: callers are the public, no tag of theirs is believed", boolean, safe=True),
    _spec("env_file", "a .env file to read; the process environment wins over it", text()),
    _spec(
        "pseudonym_key",
        "key that turns [EMAIL] into [EMAIL:1a2b3c4d], the same for the same value",
        pseudonym_key,
        secret=True,
    ),
    _spec("debug", "true sets somatrace's own loggers to DEBUG", boolean, "LANGFUSE_DEBUG"),
)
BY_NAME: Final = {spec.name: spec for spec in SPECS}

#: span limits in the SDK's words: variable, and the limit it falls back to (spec: "Attribute limits")
SPAN_LIMITS: Final = {
    "max_attribute_length": ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", ""),
    "max_span_attribute_length": (
        "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    ),
    "max_span_attributes": ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"),
    "max_event_attributes": ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"),
    "max_link_attributes": ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"),
    "max_events": ("OTEL_SPAN_EVENT_COUNT_LIMIT", ""),
    "max_links": ("OTEL_SPAN_LINK_COUNT_LIMIT", ""),
}

#: variables that decide something together with others, and what; their rules are in `rules` and `targeting`
ALSO_READ: Final = {
    "OTEL_SDK_DISABLED": "enabled",
    "LANGFUSE_ENABLED": "enabled",
    "LANGFUSE_TRACING_ENABLED": "enabled",
    "TRACELOOP_TRACING_ENABLED": "enabled",
    "OTEL_TRACES_EXPORTER": "target",
    "OTEL_TRACES_SAMPLER": "sampler",
    "OTEL_TRACES_SAMPLER_ARG": "sample_rate",
    "LANGFUSE_ENABLE_SAMPLING": "sample_rate",
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "content",
    "TRACELOOP_TRACE_CONTENT": "content",
    "TRACE_CONTENT": "content",
    "OTEL_RESOURCE_ATTRIBUTES": "resource_attributes",
    "OTEL_PROPAGATORS": "propagators",
    "OTEL_SERVICE_NAME": "service_name",
}

#: variables that other tools read and that do nothing here, and what does
REPLACED: Final = {
    "LANGFUSE_INGESTION_TOKEN": "not read: a gateway that asks for it gets it in OTEL_EXPORTER_OTLP_HEADERS",
    "TRACELOOP_BASE_URL": "not read: OTEL_EXPORTER_OTLP_ENDPOINT or SOMATRACE_ENDPOINT names the target",
    "TRACELOOP_API_KEY": "not read: OTEL_EXPORTER_OTLP_HEADERS or SOMATRACE_HEADERS carries credentials",
    "TRACELOOP_HEADERS": "not read: OTEL_EXPORTER_OTLP_HEADERS or SOMATRACE_HEADERS replaces it",
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER": "not read: use SOMATRACE_HEADERS_FILE",
}
