"""The fields of `Config`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from somatrace.config.settings import Compression, ContentDefault, PolicySource, Protocol, TargetKind


@dataclass(frozen=True)
class ConfigFields:
    """The fields of `Config`: field `x` is the variable `SOMATRACE_X`. None means "not set here"."""

    enabled: bool | None = None
    target: TargetKind | None = None
    endpoint: str | None = None
    headers: Mapping[str, str] | None = field(default=None, repr=False)
    protocol: Protocol | None = None
    timeout: float | None = None
    compression: Compression | None = None
    certificate: str | None = None
    client_certificate: str | None = None
    client_key: str | None = field(default=None, repr=False)
    insecure: bool | None = None
    langfuse_public_key: str | None = field(default=None, repr=False)
    langfuse_secret_key: str | None = field(default=None, repr=False)
    langfuse_host: str | None = None
    service_version: str | None = None
    environment: str | None = None
    release: str | None = None
    content: ContentDefault | None = None
    content_policy_file: str | None = None
    content_policy: PolicySource | None = field(default=None, repr=False)
    prices_file: str | None = None
    cost_ledger: bool | None = None
    cost_tags: Sequence[str] | None = None
    default_tenant: str | None = None
    sample_rate: float | None = None
    sample_rules: Sequence[str] | None = None
    flush_interval: float | None = None
    queue_size: int | None = None
    queue_bytes: int | None = None
    batch_size: int | None = None
    max_retries: int | None = None
    max_latency_ms: float | None = None
    data_dir: str | None = None
    local_max_bytes: int | None = None
    local_max_days: float | None = None
    spool_max_bytes: int | None = None
    spool_max_days: float | None = None
    trust: Sequence[str] | None = None
    trust_keys: str | None = field(default=None, repr=False)
    propagate_to: Sequence[str] | None = None
    edge: bool | None = None
    env_file: str | None = None
    pseudonym_key: str | None = field(default=None, repr=False)
    debug: bool | None = None
