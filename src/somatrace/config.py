"""Settings: the only reader of the process environment.

`Config` is what a program passes; every field left at None is looked up in the environment.
`resolve` turns both into `Settings`: effective values, where each came from, and what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

TargetKind = Literal["langfuse", "otlp", "local", "console", "none"]
Protocol = Literal["http/protobuf", "grpc"]
Compression = Literal["none", "gzip", "deflate"]
ContentDefault = Literal["never", "none", "redacted"]


class ConfigError(ValueError):
    """A setting that cannot be used. Raised by commands and `Config.check()`, never by `init_tracing`."""


@dataclass(frozen=True)
class Config:
    """What a program may set in code; field `x` is the variable `SOMATRACE_X`. None means "not set here"."""

    enabled: bool | None = None
    target: TargetKind | None = None


@dataclass(frozen=True)
class Problem:
    """One thing wrong: the setting (variable) it is about, and what to do, in one sentence."""

    setting: str
    message: str


@dataclass(frozen=True)
class Target:
    """Where spans go. `headers` holds secrets: it never appears in a repr, a log line or `status()`."""

    kind: TargetKind
    url: str = ""
    protocol: Protocol = "http/protobuf"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout: float = 10.0
    compression: Compression = "gzip"
    certificate: str = ""
    client_certificate: str = ""
    client_key: str = field(default="", repr=False)
    insecure: bool = False


@dataclass(frozen=True)
class Settings:
    """Effective values. Times are seconds, sizes bytes."""

    enabled: bool = True
    target: Target = Target("local")
    service_name: str = ""
    service_version: str = ""
    environment: str = ""
    release: str = ""
    resource_attributes: Mapping[str, str] = field(default_factory=dict)
    content: ContentDefault = "none"
    content_policy_file: str = ""
    default_tenant: str = "unknown"
    sampler: str = "parentbased_always_on"
    sample_rate: float = 1.0
    flush_interval: float = 0.2
    queue_size: int = 8192
    queue_bytes: int = 64 * 1024 * 1024
    batch_size: int = 512
    max_retries: int = 3
    max_latency_ms: float = 100.0
    data_dir: str = ""
    local_max_bytes: int = 256 * 1024 * 1024
    local_max_days: float = 7.0
    trust: tuple[str, ...] = ()
    trust_keys: str = field(default="", repr=False)
    propagate_to: tuple[str, ...] = ()
    edge: bool = False
    propagators: tuple[str, ...] = ("tracecontext", "baggage")
    debug: bool = False
    problems: tuple[Problem, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)


def resolve(service_name: str, config: Config | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """The effective settings. Never raises for a value: a bad one takes the safe side and becomes a Problem."""
    raise NotImplementedError
