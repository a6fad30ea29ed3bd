"""Explanations of settings for `doctor`: each effective value, its source and its purpose; secrets masked."""

from __future__ import annotations

from typing import Final, NamedTuple

from somatrace.config.reader import DEFAULT
from somatrace.config.settings import Settings, Target
from somatrace.config.specs import BY_NAME, SPAN_LIMITS, SPECS

MASK: Final = "****"
#: the keys are in the Authorization header; Settings keeps no copy
_KEYS: Final = frozenset({"langfuse_public_key", "langfuse_secret_key"})
_REASONS: Final = {
    "service_name": "the name passed to init_tracing takes precedence over OTEL_SERVICE_NAME",
    "resource_attributes": "sent with every batch, in addition to service, environment, host and process",
    "sampler": "OTEL_TRACES_SAMPLER, otherwise by rate; the caller's decision is respected",
    "propagators": "headers that propagate the trace; only tracecontext and baggage are supported",
}


class ExplainedSetting(NamedTuple):
    """One line: the setting or variable, its printable effective value, its source and its purpose."""

    setting: str
    value: str
    source: str
    why: str


def explain(settings: Settings) -> tuple[ExplainedSetting, ...]:
    """Every setting, then each variable that is set without effect, with the reason."""
    lines = [
        ExplainedSetting(
            spec.name, _shown(settings, spec.name), settings.sources.get(spec.name, DEFAULT), spec.why
        )
        for spec in SPECS
    ]
    for name, why in _REASONS.items():
        lines.append(ExplainedSetting(name, _shown(settings, name), settings.sources.get(name, DEFAULT), why))
    for name, (variable, _) in SPAN_LIMITS.items():
        limit = getattr(settings.span_limits, name)
        source = settings.sources.get(name, DEFAULT)
        lines.append(
            ExplainedSetting(
                name, "unlimited" if limit is None else str(limit), source, f"limit per span, {variable}"
            )
        )
    lines += [ExplainedSetting(name, "", "environment", why) for name, why in settings.unused.items()]
    return (*lines, *_notes(settings.target))


def _notes(target: Target) -> tuple[ExplainedSetting, ...]:
    if not any(name.startswith("x-langfuse-") for name in target.headers) or target.kind == "langfuse":
        return ()
    why = "sent unchanged; a Langfuse server itself expects Basic auth, so a collector must translate them"
    return (ExplainedSetting("x-langfuse-* headers", MASK, "headers", why),)


def _shown(settings: Settings, name: str) -> str:
    """The printable value of a setting."""
    target = settings.target
    if name == "target":
        return target.kind
    if name == "headers":
        return ", ".join(f"{header}={MASK}" for header in sorted(target.headers))
    if name in _KEYS:
        return MASK if settings.sources.get(name, DEFAULT) != DEFAULT else ""
    if name in ("endpoint", "langfuse_host"):
        return target.address if (name == "langfuse_host") == (target.kind == "langfuse") else ""
    value = getattr(settings, name) if hasattr(settings, name) else getattr(target, name)
    if name in BY_NAME and BY_NAME[name].secret:
        return MASK if value else ""
    return _plain(value)


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, dict):
        return ",".join(f"{key}={content}" for key, content in value.items())
    return str(value)
