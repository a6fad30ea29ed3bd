"""Settings that depend on several variables: on or off, content, sampling, resource, propagation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

from somatrace import semconv
from somatrace.config.parsers import BadValueError, boolean, choice, items, number, several, text, whole
from somatrace.config.reader import DEFAULT, SettingsReader
from somatrace.config.settings import ContentDefault, SpanLimits
from somatrace.config.specs import ENVIRONMENT_ATTRIBUTES, SPAN_LIMITS, VERSION_ATTRIBUTE

RESOURCE: Final = "OTEL_RESOURCE_ATTRIBUTES"
MAX_RESOURCE_VALUE: Final = 1024
_OFF_WHEN: Final = {
    "OTEL_SDK_DISABLED": True,
    "LANGFUSE_ENABLED": False,
    "LANGFUSE_TRACING_ENABLED": False,
    "TRACELOOP_TRACING_ENABLED": False,
}
_CONTENT_SWITCHES: Final = (
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT",
    "TRACELOOP_TRACE_CONTENT",
    "TRACE_CONTENT",
)
#: modes of the GenAI conventions; `event_only` keeps content off spans
_CONTENT_MODES: Final = {"no_content": False, "event_only": False, "span_only": True, "span_and_event": True}
_RATIO_SAMPLERS: Final = ("traceidratio", "parentbased_traceidratio")
_SAMPLERS: Final = (
    *_RATIO_SAMPLERS,
    "always_on",
    "always_off",
    "parentbased_always_on",
    "parentbased_always_off",
)
_PROPAGATORS: Final = ("tracecontext", "baggage")
_RESOURCE_KEY: Final = r"[A-Za-z0-9_./-]{1,200}"
_LANGFUSE_ENVIRONMENT: Final = r"(?!langfuse)[a-z0-9_-]{1,40}"


def enabled(reader: SettingsReader) -> bool:
    """Whether tracing is on: somatrace's own setting, otherwise off if any of the usual switches is off."""
    if reader.candidates("enabled"):
        return bool(reader.read("enabled"))
    reader.sources["enabled"] = DEFAULT
    on = True
    for variable, off in _OFF_WHEN.items():
        # other words: the specification reads them as false; the other switches exist to turn tracing off
        if reader.variable(variable, boolean, safe=False) is off and on:
            on, reader.sources["enabled"] = False, variable
    return on


def content(reader: SettingsReader) -> ContentDefault:
    """The policy of tenants without an entry: `SOMATRACE_CONTENT`, otherwise the most restrictive switch."""
    if reader.candidates("content"):
        value: ContentDefault = reader.read("content")
        return value
    switches = {name: reader.variable(name, _content_switch, safe=False) for name in _CONTENT_SWITCHES}
    given = {name: opens for name, opens in switches.items() if opens is not None}
    closing = [name for name, opens in given.items() if not opens]
    reader.sources["content"] = next(iter(closing or given), DEFAULT)
    for name in given if closing else ():
        if given[name]:
            reader.report(
                name, f"enables content but {closing[0]} disables it: content stays off, change one of them"
            )
    return "redacted" if given and not closing else "none"


def _content_switch(value: object) -> bool:
    word = str(value).strip().lower()
    if word in _CONTENT_MODES:
        return _CONTENT_MODES[word]
    try:
        return boolean(word)
    except BadValueError:
        raise BadValueError(
            "use true or false (or NO_CONTENT, SPAN_ONLY, EVENT_ONLY, SPAN_AND_EVENT): content stays off"
        ) from None


def sampling(reader: SettingsReader) -> tuple[str, float, tuple[str, ...]]:
    """The sampler's name and rate (1.0 for samplers without a rate), and the rules."""
    sampler, rate = _sampling(reader)
    rules: tuple[str, ...] = reader.read("sample_rules")
    keeps_all = reader.variable("LANGFUSE_ENABLE_SAMPLING", boolean, safe=True) is False
    if keeps_all and (rate < 1.0 or rules):
        reader.report(
            "LANGFUSE_ENABLE_SAMPLING",
            "false keeps every trace and overrides the sampling rate and rules: remove one of them",
        )
        reader.sources["sample_rate"] = reader.sources["sample_rules"] = "LANGFUSE_ENABLE_SAMPLING"
        return sampler, 1.0, ()
    return sampler, rate, rules


def _sampling(reader: SettingsReader) -> tuple[str, float]:
    named = reader.found("OTEL_TRACES_SAMPLER")
    if reader.candidates("sample_rate", ours=True) or (named is None and reader.candidates("sample_rate")):
        rate: float = reader.read("sample_rate")
        reader.sources["sampler"] = reader.sources["sample_rate"]
        return "parentbased_traceidratio", rate
    reader.sources["sampler"] = reader.sources["sample_rate"] = DEFAULT
    if named is None:
        return "parentbased_always_on", 1.0
    reader.sources["sampler"] = named.source
    sampler: str = reader.variable("OTEL_TRACES_SAMPLER", choice(*_SAMPLERS), "parentbased_always_on")
    if sampler not in _RATIO_SAMPLERS:
        return sampler, 1.0
    argument: float | None = reader.variable("OTEL_TRACES_SAMPLER_ARG", number(0.0, 1.0), 1.0)
    if argument is None:
        return sampler, 1.0
    reader.sources["sample_rate"] = "OTEL_TRACES_SAMPLER_ARG"
    return sampler, argument


def resource_attributes(reader: SettingsReader) -> dict[str, str]:
    """`OTEL_RESOURCE_ATTRIBUTES` as written; the caller removes attributes that have their own setting."""
    found = reader.variable(RESOURCE, _resource, {})
    reader.sources["resource_attributes"] = RESOURCE if found else DEFAULT
    return dict(found or {})


def _resource(value: object) -> dict[str, str]:
    """`key=value,key=value`, percent-encoded (OpenTelemetry specification, "Resource SDK")."""
    pairs = [part.partition("=") for part in items(value)]
    decoded = [
        (unquote(key.strip()), unquote(given.strip()) if equals else "\0") for key, equals, given in pairs
    ]
    good = {key: given for key, given in decoded if _is_attribute(key, given)}
    bad = sum(not _is_attribute(*pair) for pair in decoded)
    if bad:
        raise BadValueError(
            f"{bad} of {len(pairs)} entries ignored: use key=value, percent-encoded", kept=good
        )
    return good


def _is_attribute(key: str, value: str) -> bool:
    return (
        re.fullmatch(_RESOURCE_KEY, key) is not None
        and len(value) <= MAX_RESOURCE_VALUE
        and value.isprintable()
    )


def service_name(reader: SettingsReader, literal: object, resource: Mapping[str, str]) -> str:
    """The literal in the code; if it cannot be used, `OTEL_SERVICE_NAME`, then the resource's."""
    usable = text(200)
    try:
        name: str = usable(literal)
    except BadValueError as bad:
        reader.report("service_name", f"{bad} as the first argument of init_tracing")
    else:
        reader.sources["service_name"] = "keyword"
        return name
    operators = reader.variable("OTEL_SERVICE_NAME", usable, None)
    reader.sources["service_name"] = "OTEL_SERVICE_NAME" if operators else DEFAULT
    return operators or resource.get(semconv.SERVICE_NAME) or "unknown_service"


def service_version(reader: SettingsReader, resource: Mapping[str, str]) -> str:
    """The setting of somatrace, otherwise the resource attribute."""
    version: str = reader.read("service_version")
    if reader.sources["service_version"] == DEFAULT and VERSION_ATTRIBUTE in resource:
        reader.sources["service_version"] = RESOURCE
        return resource[VERSION_ATTRIBUTE]
    return version


def environment(reader: SettingsReader, resource: Mapping[str, str]) -> str:
    """The deployment environment: somatrace's own setting > resource attributes > Langfuse's variables.

    A value that Langfuse would change (docs/local.md) is kept, since other backends accept it, with a
    problem line; a value that is not short printable text is dropped.
    """
    attribute = next((key for key in ENVIRONMENT_ATTRIBUTES if resource.get(key)), None)
    if attribute is None or reader.candidates("environment", ours=True):
        value: str = reader.read("environment")
    else:
        reader.sources["environment"] = RESOURCE
        value = resource[attribute]
        for candidate in reader.candidates("environment"):
            if candidate.raw != value:
                reader.report(candidate.name, f"contradicts {RESOURCE}, which is used")
    if value and not re.fullmatch(_LANGFUSE_ENVIRONMENT, value.lower()):
        advice = "use 1 to 40 of a-z, 0-9, - and _, not starting with langfuse"
        reader.report(reader.label("environment"), f"Langfuse would change this value: {advice}")
    return value


def propagators(reader: SettingsReader) -> tuple[str, ...]:
    """The propagators for trace context and baggage; others are skipped."""
    found = reader.variable("OTEL_PROPAGATORS", several(_propagator, "use tracecontext, baggage or none"), ())
    reader.sources["propagators"] = DEFAULT if found is None else "OTEL_PROPAGATORS"
    if found is None:
        return _PROPAGATORS
    return () if "none" in found else tuple(found)


def _propagator(part: str) -> str | None:
    word = part.lower()
    return word if word in (*_PROPAGATORS, "none") else None


def span_limits(reader: SettingsReader) -> SpanLimits:
    """The limits of one span: the specific variable, then the general one, then the default."""
    defaults = SpanLimits()
    limits: dict[str, int | None] = {}
    for field, (variable, general) in SPAN_LIMITS.items():
        default = getattr(defaults, field)
        chosen = variable if reader.found(variable) or not general else general
        value = reader.variable(chosen, whole(0, 1 << 31), default)
        reader.sources[field] = DEFAULT if reader.found(chosen) is None else chosen
        limits[field] = default if value is None else value
    return SpanLimits(**limits)


def batch_size(reader: SettingsReader, queue_size: int) -> int:
    """Spans per request, never more than the queue holds."""
    size: int = reader.read("batch_size")
    if size > queue_size:
        if reader.sources["batch_size"] != DEFAULT:
            reader.report(
                reader.label("batch_size"),
                "a batch cannot be larger than the queue: reduced to the queue size",
            )
        return queue_size
    return size
