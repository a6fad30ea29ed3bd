"""Decides value by value what of a span may leave, fail-closed: a fault drops the value, never the span."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, ParamSpec, TypeVar

from somatrace.context.tags import Scalar, Tags
from somatrace.guard.allow_list import looks_like_identifier
from somatrace.guard.content_filter import ContentFilter, Pseudonym
from somatrace.guard.policy.model import NOTHING, Grant
from somatrace.guard.verdict_cache import MAX_KNOWN, VerdictCache

#: Resource attributes that can hold a password given on a command line, or the environment.
_RESOURCE_SECRETS: Final = ("process.command", "process.environment", "process.owner")
_OPERATOR: Final = Grant("full")
#: Thresholds and random values in hexadecimal: OpenTelemetry's TraceState: Probability Sampling.
_SAMPLING: Final = re.compile(r"(?:(?:th|rv|p|r):[0-9a-f]{1,14};?){1,4}")

T = TypeVar("T")
P = ParamSpec("P")


class Guard:
    """Judges the parts of spans under a grant. `fault` is told of each value that could not be judged.

    `pseudonym` gives, for a tenant, what makes pseudonyms of its values; None leaves plain markers.
    `cut_at` are the lengths to which values were cut before they came here.
    """

    def __init__(
        self,
        fault: Callable[[], None] = lambda: None,
        *,
        resolve: Callable[[str | None], Grant] = lambda _: NOTHING,
        pseudonym: Callable[[str | None], Pseudonym | None] = lambda _: None,
        cut_at: Collection[int] = (),
    ) -> None:
        self.faulted = fault
        self._resolve = resolve
        self._pseudonym = pseudonym
        self._known = VerdictCache(cut_at)
        self._filters: dict[str | None, ContentFilter] = {}
        #: by name and text: tags that were judged, the same for each span of a block and many blocks
        self._said: dict[tuple[str, str], str] = {}

    def content_filter(self, tenant: str | None) -> ContentFilter:
        """What may leave of a span that was started for `tenant`."""
        try:
            grant = self._resolve(tenant)
        except Exception:
            self.faulted()
            grant = NOTHING
        content_filter = self._filters.get(tenant)
        # a callable's grants are equal, not the same
        if content_filter is None or (content_filter.grant is not grant and content_filter.grant != grant):
            if len(self._filters) >= MAX_KNOWN:
                self._filters.clear()
            content_filter = self._filters[tenant] = self._made(grant, tenant)
        return content_filter

    def _made(self, grant: Grant, tenant: str | None) -> ContentFilter:
        return ContentFilter(grant, self._known, self.faulted, functools.partial(self._pseudonym, tenant))

    def safely(self, part: Callable[P, T], otherwise: T, /, *given: P.args, **named: P.kwargs) -> T:
        """A part of a span, or what takes its place where it cannot be judged."""
        try:
            return part(*given, **named)
        except Exception:
            self.faulted()
            return otherwise

    def resource(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Resource attributes: the operator's own words, without secrets and command lines."""
        said = {key: value for key, value in attributes.items() if not key.startswith(_RESOURCE_SECRETS)}
        return self._made(_OPERATOR, None).attributes(said)[0]

    def tracestate(self, entries: Mapping[str, str]) -> list[tuple[str, str]]:
        """Of a tracestate only OpenTelemetry's own entry (sampling) leaves: the others hold anything."""
        return [(key, value) for key, value in entries.items() if key == "ot" and _tame(value)]

    def name(self, name: str, scope: str, kind: str) -> str:
        """A name of a span or event as it may leave; `scope.kind` where it may not."""
        try:
            # a subclass may hash and compare as it likes
            plain = name if type(name) is str else str.__str__(name)
            return self._known.labels.name(plain, scope, kind)
        except Exception:
            self.faulted()
            return kind

    def tags(self, tags: Tags, content_filter: ContentFilter) -> Tags:
        """Tags, which the program itself bound: scanned, like all it declares, without the judge's terms."""
        # what spans stand for are names, and judged like those
        derived = {
            name: self.name(tag, name, "name") if isinstance(tag, str) else tag
            for name, tag in tags.derived.items()
        }
        return Tags(self._tags(tags.bound, content_filter), self._tags(derived, content_filter))

    def _tags(self, tags: Mapping[str, Scalar], content_filter: ContentFilter) -> dict[str, Scalar]:
        try:
            return content_filter.tags({name: self._tag(name, tag) for name, tag in tags.items()})
        except Exception:  # one by one, so that a fault costs one of them
            kept = {name: self.safely(self._tag, None, name, tag) for name, tag in tags.items()}
        return content_filter.tags({name: tag for name, tag in kept.items() if tag is not None})

    def _tag(self, name: str, value: Scalar) -> Scalar:
        if type(value) is not str:
            return self._judged_tag(name, value)
        known = self._said.get((name, value))
        if known is None:
            if len(self._said) >= MAX_KNOWN:
                self._said.clear()
            known = self._said[name, value] = self._known.declared(self._known.labels.key(name), value)
        return known

    def _judged_tag(self, name: str, value: Scalar) -> Scalar:
        if isinstance(value, str):
            return self._known.declared(self._known.labels.key(name), str.__str__(value))
        if isinstance(value, bool):
            return value
        if hidden := self._known.labels.key(name).marker(str(value)):
            return hidden
        if not looks_like_identifier(value):
            return value
        text = str(int(value))  # a job's number may be long, a card's may not leave
        clean = self._known.scanned(text)
        return value if clean == text else clean


def _tame(value: str) -> bool:
    return _SAMPLING.fullmatch(value) is not None
