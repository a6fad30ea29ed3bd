"""The table of settings: the variables read after `SOMATRACE_<NAME>`, in order, and how each is parsed.

The table defines the precedence in docs/configuration.md and is the source of the lines of `explain`.
Settings that depend on several variables (content, sampling, ...) have their rules in `combined`, and the
target in `target`; the table lists their names and descriptions.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from somatrace import semconv
from somatrace.config import urls_and_headers
from somatrace.config.parsers import (
    Parser,
    attribute_key,
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
from somatrace.config.sample_rules import ADVICE as SAMPLE_RULES_ADVICE
from somatrace.config.sample_rules import sample_rule
from somatrace.config.settings import Settings, Target

MILLISECONDS: Final = 0.001
#: attributes of OTEL_RESOURCE_ATTRIBUTES that somatrace has settings for
VERSION_ATTRIBUTE: Final = semconv.SERVICE_VERSION
ENVIRONMENT_ATTRIBUTES: Final = (semconv.ENVIRONMENT, "deployment.environment")

_SETTINGS: Final = Settings()
_TARGET: Final = Target("local")
_TIMEOUT_ADVICE: Final = "use seconds from 0.001 to 600, as OpenTelemetry in Python does, not milliseconds"


class SettingVariable(NamedTuple):
    """A variable of a setting, with its parser where that differs from the setting's."""

    name: str
    parse: Parser | None = None


class SettingSpec(NamedTuple):
    """One setting. `safe` replaces a value that cannot be used."""

    name: str
    why: str
    parse: Parser
    others: tuple[SettingVariable, ...] = ()
    default: Any = None
    safe: Any = None
    secret: bool = False

    @property
    def variable(self) -> str:
        return f"SOMATRACE_{self.name.upper()}"

    @property
    def variables(self) -> tuple[SettingVariable, ...]:
        """All variables, in order of precedence."""
        return (SettingVariable(self.variable), *self.others)


def _spec(name: str, why: str, parse: Parser, *others: str | SettingVariable, **options: Any) -> SettingSpec:
    """A spec whose default, and safe value, is the default of Settings (or of Target)."""
    default = getattr(_SETTINGS, name, getattr(_TARGET, name, ""))
    given = tuple(SettingVariable(other) if isinstance(other, str) else other for other in others)
    return SettingSpec(name, why, parse, given, **{"default": default, "safe": default, **options})


def _otlp(
    name: str, *, exact: Parser | None = None, base: Parser | None = None
) -> tuple[SettingVariable, SettingVariable]:
    return SettingVariable(f"OTEL_EXPORTER_OTLP_TRACES_{name}", exact), SettingVariable(
        f"OTEL_EXPORTER_OTLP_{name}", base
    )


SPECS: Final = (
    _spec(
        "enabled",
        "false turns tracing off: blocks then bind their tags, and do nothing else",
        boolean,
        safe=False,
    ),
    _spec(
        "target",
        "where spans go: langfuse, otlp, local, console or none; if unset, chosen from the other settings",
        choice("langfuse", "otlp", "local", "console", "none"),
        default=None,
        safe="local",
    ),
    _spec(
        "endpoint",
        "URL of an OTLP backend; /v1/traces is added if it has no path",
        urls_and_headers.endpoint,
        *_otlp("ENDPOINT", exact=urls_and_headers.exact_endpoint, base=urls_and_headers.base_endpoint),
    ),
    _spec(
        "headers",
        "headers sent with each batch: name=value,name=value, percent-encoded",
        urls_and_headers.headers,
        *_otlp("HEADERS"),
        default={},
        safe={},
        secret=True,
    ),
    _spec(
        "protocol",
        "http/protobuf, or grpc (needs the extra of that name)",
        choice("http/protobuf", "grpc"),
        *_otlp("PROTOCOL"),
    ),
    _spec(
        "timeout",
        "timeout of one batch in seconds, including the connection",
        number(0.001, 600.0, advice=_TIMEOUT_ADVICE),
        *_otlp("TIMEOUT"),
        SettingVariable("OTEL_BSP_EXPORT_TIMEOUT", number(0.001, 600.0, unit=MILLISECONDS)),
        "LANGFUSE_TIMEOUT",
    ),
    _spec(
        "compression",
        "gzip, deflate or none; gzip is cheap and saves nine tenths of the traffic",
        choice("none", "gzip", "deflate"),
        *_otlp("COMPRESSION"),
    ),
    _spec(
        "certificate",
        "CA certificate file, for a private certificate authority",
        text(),
        *_otlp("CERTIFICATE"),
    ),
    _spec(
        "client_certificate",
        "client certificate file, for mutual TLS",
        text(),
        *_otlp("CLIENT_CERTIFICATE"),
    ),
    _spec("client_key", "private key file of the client certificate", text(), *_otlp("CLIENT_KEY")),
    _spec(
        "insecure",
        "true: grpc without TLS if the endpoint has no scheme",
        boolean,
        *_otlp("INSECURE"),
    ),
    _spec(
        "langfuse_public_key",
        "public key of the Langfuse project; both keys and a host select Langfuse",
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
        "URL of the Langfuse server; never guessed, never falls back to a cloud",
        urls_and_headers.langfuse_url,
        "LANGFUSE_BASE_URL",
        "LANGFUSE_HOST",
    ),
    _spec("service_version", "service version shown on each span (service.version)", text(200)),
    _spec(
        "environment",
        "deployment environment; Langfuse accepts at most 40 of a-z, 0-9, - and _",
        text(200),
        "LANGFUSE_TRACING_ENVIRONMENT",
        "LANGFUSE_ENVIRONMENT",
    ),
    _spec("release", "release shown in Langfuse", text(200), "LANGFUSE_RELEASE"),
    _spec(
        "content",
        "none or redacted: content of tenants without a policy file entry; never: off for all tenants",
        choice("never", "none", "redacted"),
    ),
    _spec("content_policy_file", "policy file that allows content per tenant", text()),
    _spec(
        "prices_file",
        "JSON file with prices of your own: contracts, self-hosted models, names of deployments",
        text(),
    ),
    _spec(
        "cost_ledger",
        "true keeps on this machine what model calls cost, sampled or not",
        boolean,
    ),
    _spec(
        "cost_tags",
        "attributes by which the cost ledger sums up as well: brand,job_type",
        several(attribute_key, "use names of attributes, such as brand"),
    ),
    _spec(
        "default_tenant",
        "tenant_id of spans outside any block that binds it; only a label: their content mode stays none",
        text(200),
    ),
    _spec(
        "sample_rate",
        "share of traces kept, 0 to 1, decided at the start of a trace",
        number(0.0, 1.0),
        "LANGFUSE_SAMPLE_RATE",
        "LANGFUSE_SAMPLING_RATE",
    ),
    _spec(
        "sample_rules",
        "share of traces kept by tenant and workflow, the first match: tenant=free-*:0.1, workflow=job*:off",
        several(sample_rule, SAMPLE_RULES_ADVICE),
    ),
    _spec(
        "flush_interval",
        "longest wait in seconds before a finished span is sent",
        number(0.001, 3600.0),
        SettingVariable("OTEL_BSP_SCHEDULE_DELAY", number(0.001, 3600.0, unit=MILLISECONDS)),
        "LANGFUSE_FLUSH_INTERVAL",
    ),
    _spec(
        "queue_size",
        "finished spans held in memory",
        whole(1, 1 << 20),
        "OTEL_BSP_MAX_QUEUE_SIZE",
        "LANGFUSE_BUFFER_SIZE",
    ),
    _spec("queue_bytes", "bytes of finished spans held in memory; accepts K, M, G", whole(1 << 16, 1 << 34)),
    _spec(
        "batch_size",
        "spans in one request; 200 to Langfuse if nothing is set",
        whole(1, 1 << 16),
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        "LANGFUSE_FLUSH_AT",
    ),
    _spec(
        "max_retries",
        "quick attempts before a target counts as unavailable; spans are kept either way",
        whole(0, 1000),
        "LANGFUSE_MAX_RETRIES",
    ),
    _spec(
        "max_latency_ms",
        "milliseconds tracing may add to one workflow before it samples less; 0 means no limit",
        number(0.0, 600_000.0),
        "LANGFUSE_MAX_LATENCY_MS",
    ),
    _spec(
        "data_dir",
        "directory of the local store and of spans that wait for the target; put it on a volume",
        text(),
    ),
    _spec(
        "local_max_bytes",
        "size limit of the local store, oldest spans are deleted first; accepts K, M, G",
        whole(1 << 20, 1 << 44),
    ),
    _spec("local_max_days", "days the local store keeps spans", number(0.01, 3650.0)),
    _spec(
        "spool_max_bytes",
        "bytes on disk of spans that wait for the target; 0 keeps them in memory only; accepts K, M, G",
        whole(0, 1 << 44),
    ),
    _spec("spool_max_days", "days that spans wait on disk for the target", number(0.01, 3650.0)),
    _spec(
        "trust",
        "networks (CIDR) of callers whose tags are trusted",
        several(network, "use networks such as 10.0.0.0/8"),
    ),
    _spec("trust_keys", "keys of callers whose signed tags are trusted, id:base64,...", keys, secret=True),
    _spec(
        "propagate_to",
        "hosts outside the cluster that receive tags: api.example.com,*.example.org",
        several(host_pattern, "use host names, or *. and a domain; * alone is refused"),
    ),
    _spec("edge", "true for a public-facing service: no caller's tags are trusted", boolean, safe=True),
    _spec("env_file", "a .env file to read; the process environment takes precedence", text()),
    _spec(
        "pseudonym_key",
        "key that turns [EMAIL] into [EMAIL:1a2b3c4d], identical for identical values",
        pseudonym_key,
        secret=True,
    ),
    _spec("debug", "true sets somatrace's own loggers to DEBUG", boolean, "LANGFUSE_DEBUG"),
)
BY_NAME: Final = {spec.name: spec for spec in SPECS}

#: span limits by SDK name: the variable, and the one it falls back to (spec: "Attribute limits")
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

#: variables that decide a setting together with others; the rules are in `combined` and `target`
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

#: variables that other tools read and somatrace does not, with the replacement
REPLACED: Final = {
    "LANGFUSE_INGESTION_TOKEN": "not read: send it to a gateway with OTEL_EXPORTER_OTLP_HEADERS",
    "TRACELOOP_BASE_URL": "not read: set the target with OTEL_EXPORTER_OTLP_ENDPOINT or SOMATRACE_ENDPOINT",
    "TRACELOOP_API_KEY": "not read: put credentials in OTEL_EXPORTER_OTLP_HEADERS or SOMATRACE_HEADERS",
    "TRACELOOP_HEADERS": "not read: use OTEL_EXPORTER_OTLP_HEADERS or SOMATRACE_HEADERS",
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER": "not read: use SOMATRACE_HEADERS_FILE",
}
