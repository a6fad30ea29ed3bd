"""Filter spans value by value, fail-closed: a fault drops the value, never the span."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, Final, ParamSpec, TypeVar

from somatrace.context.span_state import Naming
from somatrace.context.tags import Scalar, Tags
from somatrace.guard.allow_list import looks_like_identifier
from somatrace.guard.content_filter import ContentFilter, Pseudonym
from somatrace.guard.policy.model import NOTHING, Grant
from somatrace.guard.verdict_cache import MAX_KNOWN, VerdictCache

#: Resource attributes that can contain a password from a command line or the environment.
_RESOURCE_SECRETS: Final = ("process.command", "process.environment", "process.owner")
_OPERATOR: Final = Grant("full")
#: Thresholds and random values in hexadecimal: OpenTelemetry's TraceState: Probability Sampling.
_SAMPLING: Final = re.compile(r"(?:(?:th|rv|p|r):[0-9a-f]{1,14};?){1,4}")

T = TypeVar("T")
P = ParamSpec("P")


class Guard:
    """Filters the parts of spans under a grant. `fault` is called for each value that could not be checked.

    `pseudonym` returns a tenant's function for making pseudonyms, or None for plain markers.
    `cut_at` holds the lengths to which values may have been truncated earlier.
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
        #: checked tags by name and text: the same for each span of a block, and for many blocks
        self._checked_tags: dict[tuple[str, str], str] = {}

    def content_filter(self, tenant: str | None) -> ContentFilter:
        """The filter for spans that were started for `tenant`."""
        try:
            grant = self._resolve(tenant)
        except Exception:
            self.faulted()
            grant = NOTHING
        content_filter = self._filters.get(tenant)
        # a callable's grants are equal but not identical
        if content_filter is None or (content_filter.grant is not grant and content_filter.grant != grant):
            if len(self._filters) >= MAX_KNOWN:
                self._filters.clear()
            content_filter = self._filters[tenant] = self._new_filter(grant, tenant)
        return content_filter

    def _new_filter(self, grant: Grant, tenant: str | None) -> ContentFilter:
        return ContentFilter(grant, self._known, self.faulted, functools.partial(self._pseudonym, tenant))

    def without_content(self) -> ContentFilter:
        """The filter that grants nothing and knows no terms."""
        return self._new_filter(NOTHING, None)

    def safely(self, part: Callable[P, T], otherwise: T, /, *given: P.args, **named: P.kwargs) -> T:
        """The result of `part`, or `otherwise` if it raises."""
        try:
            return part(*given, **named)
        except Exception:
            self.faulted()
            return otherwise

    def resource(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Resource attributes, which the operator sets, without secrets and command lines."""
        allowed = {key: value for key, value in attributes.items() if not key.startswith(_RESOURCE_SECRETS)}
        return self._new_filter(_OPERATOR, None).attributes(allowed)[0]

    def tracestate(self, entries: Mapping[str, str]) -> list[tuple[str, str]]:
        """The tracestate's OpenTelemetry entry (sampling); others can contain anything and are removed."""
        return [(key, value) for key, value in entries.items() if key == "ot" and _tame(value)]

    def name(self, name: str | Naming, scope: str, kind: str) -> str:
        """A span's name that may leave; `scope.kind` in place of one that may not."""
        try:
            naming = name if isinstance(name, Naming) else Naming(_plain(name))
            return self._known.names.name(naming, scope, kind)
        except Exception:
            self.faulted()
            return kind

    def event_name(self, name: str, scope: str, *, declared: bool) -> str:
        """An event's name that may leave; `scope.event` in place of one that may not."""
        try:
            return self._known.names.event(_plain(name), scope, declared=declared)
        except Exception:
            self.faulted()
            return "event"

    def label(self, text: str, use: str) -> str:
        """The name of a workflow, agent or scope that may leave; `use.name` in place of one that may not."""
        try:
            return self._known.names.label(_plain(text), use)
        except Exception:
            self.faulted()
            return use

    def tags(
        self, tags: Tags, content_filter: ContentFilter, defaults: Mapping[str, Scalar] = MappingProxyType({})
    ) -> Tags:
        """Tags bound by the program: scanned like other declared values, without the filter's terms.

        `defaults` are for tags that are neither bound nor derived; a name among them was checked before.
        """
        derived = dict(defaults)
        for name, tag in tags.derived.items():  # derived tags are names, and checked like those
            derived[name] = self.label(tag, name) if isinstance(tag, str) else tag
        return Tags(self._tags(tags.bound, content_filter), self._tags(derived, content_filter))

    def _tags(self, tags: Mapping[str, Scalar], content_filter: ContentFilter) -> dict[str, Scalar]:
        known = self._checked_tags
        kept: dict[str, Scalar] = {}
        for name, tag in tags.items():
            found = known.get((name, tag)) if type(tag) is str else None
            if found is not None:
                kept[name] = found
                continue
            try:
                kept[name] = self._tag(name, tag)
            except Exception:  # it drops only this tag
                self.faulted()
        return content_filter.terms.values_of_tags(kept) if content_filter.terms else kept

    def _tag(self, name: str, value: Scalar) -> Scalar:
        if type(value) is not str:
            return self._check_tag(name, value)
        if len(self._checked_tags) >= MAX_KNOWN:
            self._checked_tags.clear()
        checked = self._known.declared(self._known.names.key(name), value)
        self._checked_tags[name, value] = checked
        return checked

    def _check_tag(self, name: str, value: Scalar) -> Scalar:
        if isinstance(value, str):
            return self._known.declared(self._known.names.key(name), str.__str__(value))
        if isinstance(value, bool):
            return value
        if hidden := self._known.names.key(name).marker(str(value)):
            return hidden
        if not looks_like_identifier(value):
            return value
        text = str(int(value))  # a job number may be this long; a card number must not leave
        clean = self._known.scanned(text)
        return value if clean == text else clean


def _plain(text: str) -> str:
    """The text itself: a subclass may override hashing and comparison."""
    return text if type(text) is str else str.__str__(text)


def _tame(value: str) -> bool:
    return _SAMPLING.fullmatch(value) is not None
