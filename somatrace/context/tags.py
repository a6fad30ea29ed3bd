"""Tags: the tenant and other identifiers bound in the current context, as one immutable object.

A `Tags` object is attached to each span when it starts. Policy and cost depend on that object, never
on the span's attributes, which any library may overwrite. This module does not import OpenTelemetry.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, Final, Protocol

from somatrace import semconv
from somatrace.context.collector_safety import context_variable
from somatrace.runtime.log_once import LogOnce

Scalar = str | int | float | bool

MAX_TAGS: Final = 32
MAX_NAME: Final = 64
MAX_VALUE: Final = 200
_KNOWN: Final = frozenset(semconv.KNOWN_TAGS)
_LABELS: Final = ("tenant", "workflow", "agent")
_READ_BY_LANGFUSE: Final = (
    (semconv.TRACE_NAME, semconv.WORKFLOW),
    (semconv.SESSION_ID, semconv.SESSION),
    (semconv.USER_ID, semconv.USER),
)
_NOTHING: Final[frozenset[str]] = frozenset()
_RESERVED = ("langfuse.", "gen_ai.", "somatrace.", "traceloop.", "otel.")


class Tags(Mapping[str, Scalar]):
    """An immutable set of tags: the bound ones, and defaults derived from enclosing spans.

    `derived` holds the workflow and agent of enclosing spans; a bound tag overrides it. `unbound` holds the
    names that were bound to None. An absent tag may still come from an enclosing span, a caller or a
    message; an unbound one may not: "no tenant" is a statement, not the lack of one.
    """

    __slots__ = ("__dict__", "_bound", "_derived", "_unbound")

    def __init__(
        self,
        bound: Mapping[str, Scalar] | None = None,
        derived: Mapping[str, Scalar] | None = None,
        unbound: Iterable[str] = (),
    ) -> None:
        self._bound: Mapping[str, Scalar] = bound or {}
        self._derived: Mapping[str, Scalar] = derived or {}
        self._unbound = frozenset(unbound) if unbound else _NOTHING

    def __getitem__(self, name: str) -> Scalar:
        try:
            return self._bound[name]
        except KeyError:
            return self._derived[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._bound
        for name in self._derived:
            if name not in self._bound:
                yield name

    def __len__(self) -> int:
        return len(self._bound.keys() | self._derived.keys())

    def __repr__(self) -> str:
        return f"Tags({dict(self)!r})"

    @property
    def tenant(self) -> str | None:
        """The bound tenant, or None: a missing tenant is never guessed."""
        value = self._bound.get(semconv.TENANT)
        return value if type(value) is str else None  # a subclass could compare equal to another tenant

    @property
    def names_tenant(self) -> bool:
        """Whether a tenant, or explicitly none, was bound. If not, an enclosing one may apply."""
        return semconv.TENANT in self._bound or semconv.TENANT in self._unbound

    @property
    def bound(self) -> Mapping[str, Scalar]:
        return self._bound

    @property
    def derived(self) -> Mapping[str, Scalar]:
        return self._derived

    @property
    def unbound(self) -> frozenset[str]:
        return self._unbound

    def binding(self, /, **tags: Scalar | None) -> Tags:
        """These tags updated with the given, `usable` ones; None unbinds a tag.

        Above MAX_TAGS the known tags are kept first, then the outer ones.
        """
        if not self._unbound and None not in tags.values():
            bound: dict[str, Any] = {**self._bound, **tags}
            if len(bound) <= MAX_TAGS:
                return Tags(bound, self._derived)  # most blocks
        merged = dict(self._bound)
        unbound = dict.fromkeys(self._unbound)
        for name, value in tags.items():
            if value is None:
                merged.pop(name, None)
                unbound[name] = None
            else:
                merged[name] = value
                unbound.pop(name, None)
        if len(merged) > MAX_TAGS:
            _warn_once("bind", f"more than {MAX_TAGS} tags")
            merged = {name: merged[name] for name in _most_important(merged)}
        if len(unbound) > MAX_TAGS:
            unbound = dict.fromkeys(_most_important(unbound))
        return Tags(merged, self._derived, unbound)

    def over(self, around: Tags) -> Tags:
        """These tags, and those of `around` that these neither bind nor unbind."""
        bound = {name: value for name, value in around.bound.items() if name not in self._unbound}
        return Tags(
            {**bound, **self._bound},
            {**around.derived, **self._derived},
            self._unbound | (around.unbound - self._bound.keys()),
        )

    def within(self, enclosing: Tags) -> Tags:
        """These tags if they name the tenant, else these over the `enclosing` ones of an open span.

        Tags that name another tenant, or none, take nothing from a span.
        """
        return self if self.names_tenant else self.over(enclosing)

    def only(self, name: str) -> Tags:
        """One of these tags, if there is such a tag."""
        if name in self._bound:
            return Tags({name: self._bound[name]})
        return Tags(derived={name: self._derived[name]}) if name in self._derived else EMPTY

    def deriving(self, /, **tags: Scalar) -> Tags:
        """These tags, with defaults derived from an enclosing span."""
        return Tags(self._bound, {**self._derived, **tags}, self._unbound)

    @functools.cached_property
    def attributes(self) -> Mapping[str, Scalar | tuple[str, ...]]:
        """The span attributes for these tags: under their own names, and as Langfuse reads them.

        Langfuse 4 has no trace record and copies nothing from the root to its children, so trace name,
        tags, session, user and metadata are repeated on every span.
        """
        tags = {**self._derived, **self._bound}
        out: dict[str, Scalar | tuple[str, ...]] = dict(tags)
        for name, value in tags.items():
            out[_metadata(name)] = value
        labels = _labels(tags.get(semconv.TENANT), tags.get(semconv.WORKFLOW), tags.get(semconv.AGENT))
        if labels:
            out[semconv.TRACE_TAGS] = labels
        for attribute, name in _READ_BY_LANGFUSE:
            if name in tags:
                out[attribute] = str(tags[name])
        return out


def _most_important(names: Collection[str]) -> list[str]:
    """At most MAX_TAGS of `names`, the known tags first."""
    return sorted(names, key=lambda name: name not in semconv.KNOWN_TAGS)[:MAX_TAGS]


@functools.lru_cache(maxsize=1024)
def _metadata(name: str) -> str:
    """The Langfuse metadata attribute for a tag."""
    return semconv.TRACE_METADATA + name


@functools.lru_cache(maxsize=1024, typed=True)
def _labels(*values: Scalar | None) -> tuple[str, ...]:
    """The trace labels for a tenant, workflow and agent; cached because requests repeat the same few."""
    return tuple(
        f"{label}:{value}" for label, value in zip(_LABELS, values, strict=True) if value is not None
    )


def usable(tags: Mapping[str, object]) -> dict[str, Scalar | None]:
    """The valid entries of `tags`; each invalid name is logged once.

    An invalid tenant becomes None, which unbinds the enclosing one: the work does not belong to that
    tenant, and that tenant's content policy must not apply to it.
    """
    kept: dict[str, Scalar | None] = {}
    for given, value in tags.items():
        if type(value) is str and type(given) is str and _is_plain(value) and _is_known(given):
            kept[given] = value  # most of them
            continue
        name = str.__str__(given)  # of a subclass too, which may override comparison and hashing
        if name == semconv.TENANT:
            kept[name] = None
        try:
            if name not in _KNOWN:
                check_name(name)
            kept[name] = None if value is None else check_value(name, value)
        except ValueError as error:
            _warn_once(name, str(error))
        except Exception as error:  # a value may be any object, and fail on any access
            _warn_once(name, f"tag {name}: {type(error).__name__}")
    return kept


def _is_plain(text: str) -> bool:
    """Whether `_check_text` accepts a text."""
    return 0 < len(text) <= MAX_VALUE and text.isprintable() and not text.isspace()


@functools.lru_cache(maxsize=1024)
def _is_known(name: str) -> bool:
    """Whether `check_name` accepts a name; cached because programs use the same few."""
    try:
        return name in _KNOWN or check_name(name) == name
    except ValueError:
        return False


#: For at most 100 tag names, because bad tags can come in large numbers.
_warnings: Final = LogOnce(limit=100)


def _warn_once(name: str, message: str) -> None:
    _warnings.warning(name, "tag skipped: %s", message)


def check_name(name: str) -> str:
    """`name` if it is a valid tag name, else ValueError: 1-64 of `[A-Za-z0-9_.-]`, no reserved prefix."""
    if (
        not (0 < len(name) <= MAX_NAME)
        or not name.isascii()
        or not name.replace("_", "a").replace(".", "a").replace("-", "a").isalnum()
    ):
        raise ValueError(
            f"tag name {name[:MAX_NAME]!r}: use 1 to {MAX_NAME} letters, digits, '_', '.' or '-'"
        )
    if name.startswith(_RESERVED):
        raise ValueError(f"tag name {name!r}: the prefix is reserved")
    return name


def check_value(name: str, value: object) -> Scalar:
    """`value` as a plain tag value (short string, number, boolean), else ValueError; a tenant is a string.

    A value's class may override any method and even claim to be another one, so it decides nothing here.
    """
    kind = type(value)
    if issubclass(kind, str):
        return _check_text(name, str.__str__(value))  # the value of a str-Enum, not its name
    if name == semconv.TENANT:
        raise ValueError(f"tag {name}: {kind.__name__} is not a string")
    if issubclass(kind, bool):
        return value  # type: ignore[return-value] # True or False: bool has no subclasses
    if issubclass(kind, int):
        number = int.__int__(value)  # type: ignore[arg-type]
        if not -(2**63) <= number < 2**63:
            raise ValueError(f"tag {name}: the number does not fit into 64 bits")
        return number
    if issubclass(kind, float):
        return float.__float__(value)  # type: ignore[arg-type]
    raise ValueError(f"tag {name}: {kind.__name__} is not a string, number or boolean")


def _check_text(name: str, text: str) -> str:
    if len(text) > MAX_VALUE:
        raise ValueError(f"tag {name}: longer than {MAX_VALUE} characters")
    if not text.isprintable():
        raise ValueError(f"tag {name}: has unprintable characters")
    if not text.strip():
        raise ValueError(f"tag {name}: is empty")
    return text


EMPTY: Final = Tags()


class _Layers(Protocol):
    def in_force(self) -> Tags: ...


#: The open blocks of the current context, which `open_blocks` maintains.
layers: Final[ContextVar[Any]] = context_variable("somatrace_blocks", None)


class CurrentTags:
    """The tags in force in the current context: those of the blocks that are open in it."""

    def get(self) -> Tags:
        found: _Layers | None = layers.get()
        return EMPTY if found is None else found.in_force()


current: Final = CurrentTags()
