"""A usable value for each field of `Config`, for tests that give one field at a time.

A field that is added to `Config` gets a value by its type, and a line here only if that is not usable.
"""

from __future__ import annotations

import dataclasses
import types
from pathlib import Path
from typing import Any

from somatrace import Config, ContentPolicy
from somatrace.guard.policy.model import PolicyEntry

_POLICY = {"default": "none", "tenants": {"acme": {"content": "redacted"}}}


def policy_function(tenant: str) -> str:
    """A policy given as a function of a module."""
    return "redacted" if tenant == "acme" else "none"


class Policy:
    """A policy given as a method."""

    def of(self, tenant: str) -> str:
        return policy_function(tenant)


def samples(url: str, directory: Path = Path("/nonexistent")) -> dict[str, dict[str, Any]]:
    """Arguments of `Config` by a name for each case, together with all fields; `url` receives spans."""
    file = str(_written(directory / "file", ""))
    langfuse = {
        "langfuse_public_key": "pk-lf-1",
        "langfuse_secret_key": "sk-lf-1",
        "langfuse_host": url.removesuffix("/v1/traces"),
    }
    mutual_tls = {"client_certificate": file, "client_key": file}
    values: dict[str, Any] = {
        "target": "otlp",
        "endpoint": url,
        "headers": {"x-key": "value"},
        "headers read-only": types.MappingProxyType({"x-key": "value"}),
        "protocol": "http/protobuf",
        "compression": "none",
        "certificate": file,
        "content": "redacted",
        "content_policy_file": str(_written(directory / "policy.json", '{"default": "none"}')),
        "content_policy": ContentPolicy.parse(_POLICY),
        "content_policy entries": ContentPolicy(tenants={"acme": PolicyEntry("redacted")}),
        "content_policy plain": _POLICY,
        "content_policy read-only": types.MappingProxyType(_POLICY),
        "content_policy function": policy_function,
        "content_policy method": Policy().of,
        "content_policy lambda": lambda tenant: policy_function(tenant) or "none",
        "prices_file": str(_written(directory / "prices.json", "{}")),
        "cost_tags": ["brand"],
        "cost_tags tuple": ("brand",),
        "batch_size": 100,
        "max_retries": 1,
        "data_dir": str(directory / "data"),
        "trust": ["127.0.0.0/8"],
        "sample_rules": ["tenant=acme:1"],
        "sample_rules tuple": ("tenant=acme:1",),
        "trust tuple": ("127.0.0.0/8",),
        "trust_keys": "key1:MDEyMzQ1Njc4OWFiY2RlZg==",
        "propagate_to": ["api.example.com"],
        "env_file": str(_written(directory / "more.env", "SOMATRACE_RELEASE=1\n")),
        "pseudonym_key": "0123456789abcdef0123456789abcdef",
    }
    by_type = {"bool | None": True, "int | None": 1 << 20, "float | None": 1.0, "str | None": "sample"}
    known = {*langfuse, *mutual_tls, *(name.partition(" ")[0] for name in values)}
    for field in dataclasses.fields(Config):
        if field.name not in known:
            values[field.name] = by_type[str(field.type)]
    rows = {name: {name.partition(" ")[0]: value} for name, value in values.items()}
    return {**rows, "langfuse": langfuse, "mutual TLS": mutual_tls}


def _written(path: Path, text: str) -> Path:
    if path.parent.is_dir():  # not if only the names of the cases are wanted
        path.write_text(text)
    return path
