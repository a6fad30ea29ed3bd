"""For whom work is done: the tags bound in this context, as one immutable object.

A `Tags` object is stamped on a span when it starts. Policy and cost follow that object, never the
span's attributes, which any library may overwrite. Plain Python: no OpenTelemetry here.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Final

from somatrace import names

Scalar = str | int | float | bool

MAX_TAGS: Final = 32
MAX_NAME: Final = 64
MAX_VALUE: Final = 200
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
        value = self._bound.get(names.TENANT)
        return None if value is None else str(value)

    @property
    def bound(self) -> Mapping[str, Scalar]:
        return self._bound

    @property
    def derived(self) -> Mapping[str, Scalar]:
        return self._derived

    def binding(self, /, **tags: Scalar | None) -> Tags:
        """These tags and the given ones on top; None takes a tag away. Invalid ones raise ValueError."""
        merged = dict(self._bound)
        for name, value in tags.items():
            if value is None:
                merged.pop(name, None)
            else:
                merged[check_name(name)] = check_value(name, value)
        if len(merged) > MAX_TAGS:
            raise ValueError(f"more than {MAX_TAGS} tags")
        return Tags(merged, self._derived)

    def deriving(self, /, **tags: Scalar) -> Tags:
        """These tags, with what an enclosing span implies where nothing is bound."""
        return Tags(self._bound, {**self._derived, **tags})

    def filled(self, *, tenant: str, workflow: str, agent: str) -> Tags:
        """These tags with the three required ones present."""
        defaults: dict[str, Scalar] = {names.TENANT: tenant, names.WORKFLOW: workflow, names.AGENT: agent}
        return Tags(self._bound, {**defaults, **self._derived})

    @functools.cached_property
    def attributes(self) -> Mapping[str, Scalar | tuple[str, ...]]:
        """The span attributes these tags stand for: plain, and as Langfuse reads them on every span.

        Langfuse 4 keeps no trace record and copies nothing from root to children, so trace name,
        tags, session, user and metadata are repeated on each span.
        """
        out: dict[str, Scalar | tuple[str, ...]] = {}
        for name, value in {**self._derived, **self._bound}.items():
            out[name] = value
            out[names.TRACE_METADATA + name] = value
        labels = tuple(
            f"{label}:{self[name]}"
            for label, name in (
                ("tenant", names.TENANT),
                ("workflow", names.WORKFLOW),
                ("agent", names.AGENT),
            )
            if name in self
        )
        if labels:
            out[names.TRACE_TAGS] = labels
        if names.WORKFLOW in self:
            out[names.TRACE_NAME] = str(self[names.WORKFLOW])
        if names.SESSION in self:
            out[names.SESSION_ID] = str(self[names.SESSION])
        if names.USER in self:
            out[names.USER_ID] = str(self[names.USER])
        return out


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
        return str.__str__(value)  # of a str-Enum the value, not its name
    raise ValueError(f"tag {name}: {type(value).__name__} is not a string, number or boolean")


EMPTY: Final = Tags()
current: Final[ContextVar[Tags]] = ContextVar("somatrace_tags", default=EMPTY)
