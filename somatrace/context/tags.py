"""For whom work is done: the tags bound in this context, as one immutable object.

A `Tags` object is stamped on a span when it starts. Policy and cost follow that object, never the
span's attributes, which any library may overwrite. Plain Python: no OpenTelemetry here.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Final

from somatrace import semconv

log = logging.getLogger("somatrace")
Scalar = str | int | float | bool

MAX_TAGS: Final = 32
MAX_NAME: Final = 64
MAX_VALUE: Final = 200
_COMPLAINTS: Final = 100
_LABELS: Final = ("tenant", "workflow", "agent")
_READ_BY_LANGFUSE: Final = (
    (semconv.TRACE_NAME, semconv.WORKFLOW),
    (semconv.SESSION_ID, semconv.SESSION),
    (semconv.USER_ID, semconv.USER),
)
_RESERVED = ("langfuse.", "gen_ai.", "somatrace.", "traceloop.", "otel.")


class Tags(Mapping[str, Scalar]):
    """An immutable set of tags: what was bound, and what spans around imply where nothing was.

    `derived` holds the workflow and agent that enclosing spans stand for; a bound tag wins over it.
    """

    __slots__ = ("__dict__", "_bound", "_derived")

    def __init__(
        self, bound: Mapping[str, Scalar] | None = None, derived: Mapping[str, Scalar] | None = None
    ) -> None:
        self._bound: Mapping[str, Scalar] = bound or {}
        self._derived: Mapping[str, Scalar] = derived or {}

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
        """The bound tenant, or None: an absent tenant is never guessed."""
        value = self._bound.get(semconv.TENANT)
        return None if value is None else str(value)

    @property
    def bound(self) -> Mapping[str, Scalar]:
        return self._bound

    @property
    def derived(self) -> Mapping[str, Scalar]:
        return self._derived

    def binding(self, /, **tags: Scalar | None) -> Tags:
        """These tags and the given ones, which are `usable`, on top; None takes a tag away.

        Over MAX_TAGS the known ones stay, and of the others the outer ones.
        """
        merged = dict(self._bound)
        for name, value in tags.items():
            if value is None:
                merged.pop(name, None)
            else:
                merged[name] = value
        if len(merged) > MAX_TAGS:
            complain("bind", f"more than {MAX_TAGS} tags")
            kept = sorted(merged, key=lambda name: name not in semconv.KNOWN_TAGS)[:MAX_TAGS]
            merged = {name: merged[name] for name in kept}
        return Tags(merged, self._derived)

    def deriving(self, /, **tags: Scalar) -> Tags:
        """These tags, with what an enclosing span implies where nothing is bound."""
        return Tags(self._bound, {**self._derived, **tags})

    def filled(self, *, tenant: str, workflow: str, agent: str) -> Tags:
        """These tags with the three required ones present."""
        defaults: dict[str, Scalar] = {
            semconv.TENANT: tenant,
            semconv.WORKFLOW: workflow,
            semconv.AGENT: agent,
        }
        return Tags(self._bound, {**defaults, **self._derived})

    @functools.cached_property
    def attributes(self) -> Mapping[str, Scalar | tuple[str, ...]]:
        """The span attributes these tags stand for: plain, and as Langfuse reads them on every span.

        Langfuse 4 keeps no trace record and copies nothing from root to children, so trace name,
        tags, session, user and metadata are repeated on each span.
        """
        tags = {**self._derived, **self._bound}
        out: dict[str, Scalar | tuple[str, ...]] = {
            **tags,
            **{_metadata(name): value for name, value in tags.items()},
        }
        labels = _labels(tags.get(semconv.TENANT), tags.get(semconv.WORKFLOW), tags.get(semconv.AGENT))
        if labels:
            out[semconv.TRACE_TAGS] = labels
        for attribute, name in _READ_BY_LANGFUSE:
            if name in tags:
                out[attribute] = str(tags[name])
        return out


@functools.lru_cache(maxsize=1024)
def _metadata(name: str) -> str:
    """The attribute in which Langfuse keeps a tag of that name."""
    return semconv.TRACE_METADATA + name


@functools.lru_cache(maxsize=1024, typed=True)
def _labels(*values: Scalar | None) -> tuple[str, ...]:
    """The labels of a trace of that tenant, workflow and agent; each request brings the same few."""
    return tuple(
        f"{label}:{value}" for label, value in zip(_LABELS, values, strict=True) if value is not None
    )


def usable(tags: Mapping[str, object]) -> dict[str, Scalar | None]:
    """Those of `tags` that can be bound; each of the others costs one log line, however often it comes.

    A tenant that cannot be bound becomes None, which takes the one around away: the work is not that
    tenant's, and its content is not judged as that tenant's.
    """
    kept: dict[str, Scalar | None] = {}
    for name, value in tags.items():
        try:
            kept[name] = None if value is None else check_value(check_name(name), value)
        except ValueError as error:
            complain(name, str(error))
        except Exception as error:  # a value may be anything, and fail when it is looked at
            complain(name, f"tag {name}: {type(error).__name__}")
        if name == semconv.TENANT:
            kept.setdefault(name, None)
    return kept


_complained: Final[set[str]] = set()


def complain(what: str, message: str) -> None:
    """One line per tag name, at most 100 names: bad tags come in floods."""
    if what not in _complained and len(_complained) < _COMPLAINTS:
        _complained.add(what)
        log.warning("tag left out: %s", message)


def check_name(name: str) -> str:
    """`name` if it can be a tag's name, else ValueError: 1-64 of `[A-Za-z0-9_.-]`, no reserved prefix."""
    if (
        not (0 < len(name) <= MAX_NAME)
        or not name.isascii()
        or not name.replace("_", "a").replace(".", "a").replace("-", "a").isalnum()
    ):
        raise ValueError(
            f"tag name {name[:MAX_NAME]!r}: use 1 to {MAX_NAME} of letters, digits, '_', '.', '-'"
        )
    if name.startswith(_RESERVED):
        raise ValueError(f"tag name {name!r}: the prefix is reserved")
    return name


def check_value(name: str, value: object) -> Scalar:
    """`value` if it can be a tag's value (a short string, number or boolean), else ValueError."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise ValueError(f"tag {name}: the number does not fit 64 bits")
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        if len(value) > MAX_VALUE:
            raise ValueError(f"tag {name}: longer than {MAX_VALUE} characters")
        if not value.isprintable():
            raise ValueError(f"tag {name}: has unprintable characters")
        if not value.strip():
            raise ValueError(f"tag {name}: is empty")
        return str.__str__(value)  # of a str-Enum the value, not its name
    raise ValueError(f"tag {name}: {type(value).__name__} is not a string, number or boolean")


EMPTY: Final = Tags()
current: Final[ContextVar[Tags]] = ContextVar("somatrace_tags", default=EMPTY)
