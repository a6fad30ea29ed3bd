"""Mapping of spans to observations, with the same fields as Langfuse's own OTLP mapping.

Source: Langfuse server 4.16.0, `OtelIngestionProcessor` and `ObservationTypeMapper`, as documented in
docs/local.md. Keys are listed in order of precedence; the first that is not empty wins.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from somatrace import semconv
from somatrace.local.otlp import foreign_json, input_output, usage
from somatrace.local.otlp.decode import DecodedSpan, SpanOrigin
from somatrace.local.otlp.observation_parts import (
    SUMMING_OPERATIONS,
    compact,
    first,
    level_of,
    model_of,
    observation_type,
    text,
)
from somatrace.local.otlp.row import SpanRow

_NAME: Final = (semconv.TOOL_NAME, "genkit:name", "logfire.msg")
_USER: Final = (
    "langfuse.user.id",
    semconv.USER_ID,
    "langfuse.observation.metadata.langfuse_user_id",
    "langfuse.trace.metadata.langfuse_user_id",
    "ai.telemetry.metadata.userId",
)
_SESSION: Final = (
    "langfuse.session.id",
    semconv.SESSION_ID,
    "gen_ai.conversation.id",
    "langfuse.observation.metadata.langfuse_session_id",
    "langfuse.trace.metadata.langfuse_session_id",
    "ai.telemetry.metadata.sessionId",
)
_TAGS: Final = (
    semconv.TRACE_TAGS,
    "langfuse.tags",
    "langfuse.observation.metadata.langfuse_tags",
    "langfuse.trace.metadata.langfuse_tags",
    "ai.telemetry.metadata.tags",
    "tag.tags",
)
_ENVIRONMENT: Final = ("langfuse.environment", semconv.ENVIRONMENT, "deployment.environment")
#: later ones overwrite earlier ones on the same key
_METADATA: Final = (
    "ai.telemetry.metadata",
    "langfuse.metadata",
    "langfuse.observation.metadata",
    "langfuse.trace.metadata",
)
_STATUS: Final = {1: "ok", 2: "error"}


def row(span: DecodedSpan) -> SpanRow:
    """The observation for `span`."""
    attributes, resource = span.attributes, span.origin.resource
    given_input, given_output, io_keys = input_output.input_output(attributes)
    metadata, typed = _metadata(attributes, io_keys, span.origin)
    kind = observation_type(attributes)
    counts = cost = usage.NOTHING
    model = None
    if attributes.get(semconv.OPERATION) not in SUMMING_OPERATIONS:
        counts, cost = usage.usage(attributes), usage.cost(attributes)
        model = model_of(attributes)
    is_root = span.parent_id is None or attributes.get("langfuse.internal.is_app_root") in (True, "true")
    name = first(attributes, _NAME) or span.name
    prompt = _prompt(attributes) if kind == "GENERATION" else (None, None)
    return SpanRow(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_id=span.parent_id,
        is_root=is_root,
        name=name,
        type=kind,
        level=level_of(attributes, span.status),
        status=_STATUS.get(span.status, "unset" if span.is_ended else "open"),
        status_message=first(attributes, ("langfuse.observation.status_message",))
        or span.status_message
        or None,
        environment=_environment(attributes, resource),
        version=first(attributes, ("langfuse.version",)) or first(resource, (semconv.SERVICE_VERSION,)),
        release=first(attributes, ("langfuse.release",)) or first(resource, ("langfuse.release",)),
        service=first(resource, (semconv.SERVICE_NAME,)),
        trace_name=first(attributes, (semconv.TRACE_NAME,)) or (name if is_root else None),
        tenant_id=metadata.get(semconv.TENANT) or first(attributes, (semconv.TENANT,)),
        workflow_name=metadata.get(semconv.WORKFLOW) or first(attributes, (semconv.WORKFLOW,)),
        agent_id=metadata.get(semconv.AGENT) or first(attributes, (semconv.AGENT,)),
        session_id=first(attributes, _SESSION),
        user_id=first(attributes, _USER),
        tags=compact(_tags(attributes)),
        model=model,
        prompt_name=prompt[0],
        prompt_version=prompt[1],
        input_tokens=counts.input,
        output_tokens=counts.output,
        total_tokens=counts.total,
        input_cost=cost.input,
        output_cost=cost.output,
        total_cost=cost.total,
        start_ns=span.start_ns,
        end_ns=span.end_ns,
        first_token_ns=_first_token(attributes),
        correlation_id=metadata.get(semconv.CORRELATION) or first(attributes, (semconv.CORRELATION,)),
        metadata=compact(metadata),
        input=None if given_input is None else text(given_input),
        output=None if given_output is None else text(given_output),
        extra=compact(_extra(span, counts, cost, typed)),
    )


def origin_metadata(origin: SpanOrigin) -> dict[str, str]:
    """The resource and scope entries that Langfuse repeats in the metadata of each span."""
    found = {f"resourceAttributes.{key}": text(value) for key, value in origin.resource.items()}
    found["scope.name"], found["scope.version"] = origin.scope, origin.scope_version
    found |= {f"scope.attributes.{key}": text(value) for key, value in origin.scope_attributes.items()}
    return found


def _environment(attributes: Mapping[str, Any], resource: Mapping[str, Any]) -> str:
    given = first(attributes, _ENVIRONMENT) or first(resource, _ENVIRONMENT) or ""
    name = re.sub(r"^langfuse[-_]", "", given.lower())[:40]
    return name if re.fullmatch(r"[a-z0-9_-]+", name) else "default"


def _tags(attributes: Mapping[str, Any]) -> list[str]:
    value = next((found for key in _TAGS if (found := attributes.get(key))), None)
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            parsed = foreign_json.parse(value)
        except ValueError:
            parsed = None
        value = parsed if isinstance(parsed, list) else value
    if isinstance(value, list):
        return [text(tag) for tag in value]
    return [tag.strip() for tag in value.split(",")] if isinstance(value, str) else []


def _metadata(
    attributes: Mapping[str, Any], io_keys: frozenset[str], origin: SpanOrigin
) -> tuple[dict[str, str], list[int]]:
    """Top-level metadata, and every other attribute as `attributes.<key>`; all values are text.

    Also returns the places of values that were not text, so that an export can restore their types.
    """
    layers: dict[str, dict[str, str]] = {key: {} for key in _METADATA}
    found: dict[str, str] = {}
    typed: list[int] = []
    keep_rest = not origin.scope.startswith("langfuse-sdk")
    for key, value in attributes.items():
        # a cheap check first, since this runs for every attribute of every span and few keys match
        if key.startswith(_METADATA):
            base = next(base for base in _METADATA if key.startswith(base))
            if key == base:
                layers[base].update(
                    (name, text(item)) for name, item in (usage.json_object(value) or {}).items()
                )
                continue
            if key[len(base)] == ".":
                layers[base][key[len(base) + 1 :]] = text(value)
                continue
        if keep_rest and key not in io_keys:
            if isinstance(value, str):
                found["attributes." + key] = value
            else:
                typed.append(len(found))
                found["attributes." + key] = compact(value)
    for layer in layers.values():
        found.update(layer)
    return found, typed


def _prompt(attributes: Mapping[str, Any]) -> tuple[str | None, int | None]:
    name = first(attributes, ("langfuse.observation.prompt.name", "langfuse.prompt.name"))
    version = first(attributes, ("langfuse.observation.prompt.version", "langfuse.prompt.version")) or ""
    return name, int(version) if version.isascii() and version.isdigit() and len(version) < 10 else None


def _first_token(attributes: Mapping[str, Any]) -> int | None:
    given = attributes.get(semconv.COMPLETION_START)
    if not isinstance(given, str):
        return None
    try:
        # older SDKs put quotes around the timestamp
        moment = datetime.fromisoformat(given.strip('"'))
        nanoseconds = int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1e9)
        return nanoseconds if abs(nanoseconds) < 2**63 else None
    except (ValueError, OverflowError):
        return None


def _extra(
    span: DecodedSpan, counts: usage.UsageAmounts, cost: usage.UsageAmounts, typed: list[int]
) -> dict[str, Any]:
    """Fields that are displayed but never searched."""
    attributes = span.attributes
    parameters = (
        usage.json_object(attributes.get("langfuse.observation.model.parameters"))
        or usage.json_object(attributes.get("llm.invocation_parameters"))
        or usage.json_object(attributes.get("model_config"))
        or {
            key.removeprefix("gen_ai.request."): value
            for key, value in attributes.items()
            if key.startswith("gen_ai.request.") and key != semconv.REQUEST_MODEL
        }
    )
    found = {
        "kind": span.kind,
        "usage": counts.details,
        "cost": cost.details,
        "parameters": parameters,
        "events": span.events,
        "links": span.links,
        "dropped": span.dropped,
        "typed": typed,
    }
    return {key: value for key, value in found.items() if value}
