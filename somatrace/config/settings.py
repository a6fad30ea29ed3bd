"""Data types: the effective settings, the target, and problems with settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from somatrace.semconv import LANGFUSE_OTLP_PATH

if TYPE_CHECKING:
    from somatrace.guard.policy.model import ContentPolicy

TargetKind = Literal["langfuse", "otlp", "local", "console", "none"]
Protocol = Literal["http/protobuf", "grpc"]
Compression = Literal["none", "gzip", "deflate"]
ContentDefault = Literal["never", "none", "redacted"]
#: Content per tenant: a policy, plain data in the format of the policy file, or a callable that returns
#: `none`, `redacted`, an entry, or None (the default) for one tenant.
PolicySource: TypeAlias = "ContentPolicy | Mapping[str, Any] | Callable[[str], Any]"


class ConfigError(ValueError):
    """A setting that cannot be used. Raised by commands and `Config.check()`, never by `init_tracing`."""


@dataclass(frozen=True)
class Problem:
    """One problem: the setting or variable, and one sentence that says how to fix it."""

    setting: str
    message: str

    def __str__(self) -> str:
        return f"{self.setting}: {self.message}"


@dataclass(frozen=True, repr=False)
class Target:
    """The destination of spans. `headers` holds secrets: never shown in a repr, a log line or `status()`.

    `url` is the full URL for http/protobuf and `host:port` for grpc; its query may hold a secret too, so
    print `address` instead. `timeout` is in seconds. `insecure` (grpc only) means without TLS. `unusable` is
    the problem for which this target stands in for the configured one, "" if it is the configured one.
    """

    kind: TargetKind
    url: str = ""
    protocol: Protocol = "http/protobuf"
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 10.0
    compression: Compression = "gzip"
    certificate: str = ""
    client_certificate: str = ""
    client_key: str = ""
    insecure: bool = False
    unusable: str = field(default="", compare=False)

    @property
    def address(self) -> str:
        """The printable URL: without its query."""
        return self.url.partition("?")[0]

    @property
    def is_langfuse(self) -> bool:
        """Whether it is a Langfuse server, also if it is configured as an OTLP backend."""
        return self.kind == "langfuse" or self.address.endswith(LANGFUSE_OTLP_PATH)

    def __repr__(self) -> str:
        return f"Target({self.kind!r}, {self.address!r}, {self.protocol!r})"


@dataclass(frozen=True)
class SpanLimits:
    """Limits of one span, named as in the SDK's `SpanLimits`; None means no limit.

    Defaults: OpenTelemetry specification, "Attribute limits" and "Span limits".
    """

    max_span_attributes: int | None = 128
    max_events: int | None = 128
    max_links: int | None = 128
    max_event_attributes: int | None = 128
    max_link_attributes: int | None = 128
    max_attribute_length: int | None = None
    max_span_attribute_length: int | None = None


@dataclass(frozen=True)
class Settings:
    """Effective values. Times are in seconds, sizes in bytes.

    `sources` maps each setting to the variable it came from, `keyword` or `default`. `unused` maps each
    variable that is set without effect to one line that names its replacement, without values.
    """

    enabled: bool = True
    target: Target = Target("local")
    service_name: str = ""
    service_version: str = ""
    environment: str = ""
    release: str = ""
    resource_attributes: Mapping[str, str] = field(default_factory=dict)
    content: ContentDefault = "none"
    content_policy_file: str = ""
    content_policy: PolicySource | None = field(default=None, repr=False)
    prices_file: str = ""
    cost_ledger: bool = False
    cost_tags: tuple[str, ...] = ()
    default_tenant: str = "unknown"
    sampler: str = "parentbased_always_on"
    sample_rate: float = 1.0
    sample_rules: tuple[str, ...] = ()
    span_limits: SpanLimits = SpanLimits()
    flush_interval: float = 0.2
    queue_size: int = 131072
    queue_bytes: int = 64 * 1024 * 1024
    batch_size: int = 512
    max_retries: int = 3
    max_latency_ms: float = 0.0
    data_dir: str = ""
    state_home: str = ""
    local_max_bytes: int = 256 * 1024 * 1024
    local_max_days: float = 7.0
    spool_max_bytes: int = 256 * 1024 * 1024
    spool_max_days: float = 7.0
    trust: tuple[str, ...] = ()
    trust_keys: str = field(default="", repr=False)
    propagate_to: tuple[str, ...] = ()
    edge: bool = False
    propagators: tuple[str, ...] = ("tracecontext", "baggage")
    env_file: str = ""
    pseudonym_key: str = field(default="", repr=False)
    debug: bool = False
    problems: tuple[Problem, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    unused: Mapping[str, str] = field(default_factory=dict)
