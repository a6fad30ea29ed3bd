"""Put a span's tags on its copy beside what the program has set for the trace itself, for Langfuse."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from somatrace import semconv
from somatrace.context.span_state import SpanState
from somatrace.guard.content_filter import ContentFilter
from somatrace.guard.removal_notes import RemovalNote

#: Set on one span, they are more specific than a tag that is bound for a block.
_OF_ONE_SPAN: Final = (semconv.TRACE_NAME, semconv.SESSION_ID, semconv.USER_ID)
_LANGFUSE_TAGS: Final = "langfuse.tags"
_TAG_LISTS: Final = frozenset((semconv.TRACE_TAGS, _LANGFUSE_TAGS))
_OWN: Final = frozenset((*_OF_ONE_SPAN, semconv.TRACE_TAGS))
#: Labels made from the tags; another one on a span would count its work for another tenant.
_RESERVED: Final = ("tenant:", "workflow:", "agent:")
_MAX_TAGS: Final = 32


def filtered(
    given: Mapping[str, Any], declared: Mapping[str, Any], content_filter: ContentFilter
) -> tuple[dict[str, Any], list[RemovalNote]]:
    """A span's attributes that may leave, with all its trace tags as one list, judged one by one."""
    if _TAG_LISTS.isdisjoint(given):
        return content_filter.attributes(given, declared)
    rest = {key: value for key, value in given.items() if key not in _TAG_LISTS}
    kept, removed = content_filter.attributes(rest, declared)
    tags: list[str] = []
    for key in _TAG_LISTS & given.keys():
        is_declared = declared.get(key) is given[key]
        for text in _texts(given[key])[:_MAX_TAGS]:
            one = {semconv.TRACE_TAGS: (text,)}
            passed, gone = content_filter.attributes(one, one if is_declared else {})
            tags += _texts(passed.get(semconv.TRACE_TAGS))
            removed += gone
    if tags:
        kept[semconv.TRACE_TAGS] = tuple(tags)
    return kept, removed


def tags_beside(
    attributes: dict[str, Any],
    tagged: Mapping[str, Any],
    state: SpanState | None,
    words: Callable[[str], str],
) -> Mapping[str, Any]:
    """The attributes of a span's tags, for its copy beside the guarded `attributes`, which lose what the tags
    override. Mostly these are `tagged` themselves, which are the same for all spans with these tags.

    A trace name, session or user that the program has set on the span stays, and its trace tags are kept
    beside the labels of the tags. The spans of the process that end later share the trace name, filtered by
    `words`.
    """
    below = state.root.below if state is not None else None
    has_name = below is not None and bool(below.name)
    if not has_name and tagged.keys().isdisjoint(attributes):  # most spans
        return tagged
    beside = dict(tagged)
    own = {key: attributes[key] for key in _OF_ONE_SPAN if attributes.get(key)}
    if semconv.TRACE_TAGS in attributes:
        labels = tagged.get(semconv.TRACE_TAGS, ())
        beside[semconv.TRACE_TAGS] = _merged(labels, _texts(attributes[semconv.TRACE_TAGS]))
    if semconv.TRACE_NAME in own:
        if below is not None and not below.name:
            below.name = str(own[semconv.TRACE_NAME])
    elif below is not None and below.name:
        beside[semconv.TRACE_NAME] = words(below.name)
    beside.update(own)
    for key in beside.keys() & attributes.keys():
        del attributes[key]
    return beside


def _merged(labels: Iterable[str], own: Iterable[str]) -> tuple[str, ...]:
    kept = (text for text in own if not text.startswith(_RESERVED))
    return tuple(dict.fromkeys((*labels, *kept)))[:_MAX_TAGS]


def _texts(given: Any) -> list[str]:
    """The tags in a value of any form that Langfuse reads: a list, a list as JSON, or text with commas."""
    if isinstance(given, str):
        if given.lstrip().startswith("["):
            try:
                given = json.loads(given)
            except (ValueError, RecursionError):
                return []
        else:
            given = given.split(",")
    if not isinstance(given, (list, tuple)):
        return []
    return [text.strip() for text in given if isinstance(text, str) and text.strip()]
