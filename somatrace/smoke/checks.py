"""Compare observations, as sent or as read back, with the expected trace."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from somatrace import semconv
from somatrace.smoke.report import Check

#: An observation as Langfuse's v2 read API returns it, with all field groups.
Observation = Mapping[str, Any]
_PLAIN: Final = {"traceName": semconv.WORKFLOW, "sessionId": semconv.SESSION, "userId": semconv.USER}
_LABELS: Final = {"tenant": semconv.TENANT, "workflow": semconv.WORKFLOW, "agent": semconv.AGENT}


@dataclass(frozen=True)
class ExpectedTrace:
    """The expected trace. Token counts are None when the provider reported none."""

    root_id: str
    tags: Mapping[str, str]
    model: str
    input_tokens: int | None
    output_tokens: int | None


def check_trace(observations: Sequence[Observation], expected: ExpectedTrace) -> list[Check]:
    """Check tags, model, usage and parents; one `Check` each."""
    return [
        _check("tags on every span", _tags(observations, expected.tags)),
        _check("one model call, and its model", _model(observations, expected)),
        _check("usage", _usage(observations, expected)),
        _check("parents", _parents(observations, expected)),
    ]


def text_of(observations: Sequence[Observation]) -> bytes:
    """The complete text of the observations, for searching."""
    return json.dumps(observations, ensure_ascii=False, default=str).encode("utf-8", "replace")


def _check(name: str, faults: Iterator[str]) -> Check:
    every = list(faults)
    return Check(name, not every, "; ".join(every[:3]) + (f"; {len(every) - 3} more" if every[3:] else ""))


def _tags(observations: Sequence[Observation], tags: Mapping[str, str]) -> Iterator[str]:
    labels = {f"{label}:{tags[name]}" for label, name in _LABELS.items()}
    for found in observations:
        metadata = found.get("metadata") or {}
        missing = [name for name, value in tags.items() if str(metadata.get(name)) != value]
        missing += [field for field, name in _PLAIN.items() if found.get(field) != tags[name]]
        missing += sorted(labels - set(found.get("tags") or ()))
        if missing:
            yield f"span {_name(found)} lacks {', '.join(missing)}"


def _calls(observations: Sequence[Observation]) -> list[Observation]:
    return [found for found in observations if found.get("type") == "GENERATION"]


def _model(observations: Sequence[Observation], expected: ExpectedTrace) -> Iterator[str]:
    calls = _calls(observations)
    if len(calls) != 1:
        yield f"{len(calls)} model calls instead of one"
    for call in calls:
        model = call.get("providedModelName") or call.get("model")
        if model != expected.model:
            yield "no model" if not model else "another model"


def _usage(observations: Sequence[Observation], expected: ExpectedTrace) -> Iterator[str]:
    """Input and output are summed up, since backends report parts such as cached tokens separately."""
    for call in _calls(observations):
        used = call.get("usageDetails") or {}
        for side, wanted in (("input", expected.input_tokens), ("output", expected.output_tokens)):
            counted = sum(int(count) for key, count in used.items() if key.startswith(side))
            if wanted is not None and counted != wanted:
                yield f"{counted} {side} tokens instead of {wanted}"


def _parents(observations: Sequence[Observation], expected: ExpectedTrace) -> Iterator[str]:
    parents = {str(found.get("id")): found.get("parentObservationId") or None for found in observations}
    if expected.root_id not in parents:
        yield "the root span is missing"
    for found in observations:
        parent = parents[str(found.get("id"))]
        if (parent is None) != (found.get("id") == expected.root_id) or (parent and parent not in parents):
            yield f"span {_name(found)} has the wrong parent"


def _name(found: Observation) -> str:
    name = str(found.get("name"))
    return name[:60] if name.isprintable() else ascii(name[:60])
