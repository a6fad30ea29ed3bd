"""The content policy: its entries per tenant, and the grants they result in.

`none` removes content, `redacted` keeps it without detected values, `full` removes only secrets from it.
Only a tenant's own entry, with an end and a reason, can grant `full`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

from somatrace import semconv
from somatrace.guard.detection.engine import ALL, Category
from somatrace.runtime.clock import clock

Mode = Literal["none", "redacted", "full"]
Default = Literal["none", "redacted"]

#: How far ahead `full` may be granted, in days.
FULL_DAYS: Final = 90
MAX_TENANTS: Final = 10_000
MAX_SAFE_KEYS: Final = 100
MAX_TERMS: Final = 1000
MAX_TERM: Final = 200
MAX_REASON: Final = 300
MAX_TENANT: Final = 200

_SAFE_KEY: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{2,127}\*?")

Located = Callable[[tuple[str, ...]], str]
"""Returns a setting's position in its source ("line 7: "), or an empty text."""


class PolicyError(ValueError):
    """An invalid policy; the message has one line per mistake."""


class Grant(NamedTuple):
    """The content that one tenant's spans may have now."""

    mode: Mode
    safe_keys: tuple[str, ...] = ()
    categories: frozenset[Category] = ALL
    #: terms of all tenants and the tenant's own, separate so that tenants share one detector for the first
    terms: tuple[str, ...] = ()
    own: tuple[str, ...] = ()

    @property
    def shows_content(self) -> bool:
        """Whether spans may have more than those of a tenant without an entry."""
        return self.mode != "none" or bool(self.safe_keys)

    @property
    def fingerprint(self) -> str:
        """The same for equal grants, in every process; a hash, since terms are confidential."""
        import hashlib  # not at the start, where no span has waited yet

        parts = [sorted(part) for part in (self.safe_keys, self.categories, self.terms, self.own)]
        return hashlib.sha256(repr((self.mode, parts)).encode()).hexdigest()[:16]


NOTHING: Final = Grant("none")


@dataclass(frozen=True, slots=True)
class PolicyEntry:
    """One tenant's entry. It is valid until `until` (aware, exclusive), or until it is changed."""

    content: Mode
    until: dt.datetime | None = None
    reason: str = ""
    safe_keys: tuple[str, ...] = ()
    categories: frozenset[Category] | None = None
    terms: tuple[str, ...] = ()

    def active(self, now: dt.datetime) -> bool:
        return self.until is None or now < self.until

    def grant(self, categories: frozenset[Category] = ALL, terms: tuple[str, ...] = ()) -> Grant:
        """The resulting grant, given the policy's `categories` and `terms` for all tenants."""
        categories = categories if self.categories is None else self.categories
        with_terms = "customer" in categories
        return Grant(
            self.content,
            self.safe_keys,
            ALL if self.content == "none" else categories,  # without content, everything is detected
            terms if with_terms else (),
            self.terms if with_terms else (),
        )


@dataclass(frozen=True)
class ContentPolicy:
    """The policy of all tenants. Immutable; `ContentPolicy.parse` creates one from plain data.

    `default` applies to named tenants without an entry, and after an entry's end; it cannot be `full`. With
    None, the process-wide setting applies.
    """

    default: Default | None = None
    tenants: Mapping[str, PolicyEntry] = field(default_factory=dict)
    categories: frozenset[Category] = ALL
    terms: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.default not in (None, "none", "redacted"):
            raise PolicyError("default: use none or redacted; only a tenant's own entry can be full")
        tenants = dict(self.tenants)
        if not all(map(_is_text, tenants)):
            raise PolicyError("tenants: an id must be a text")
        plain = {str.__str__(tenant): entry for tenant, entry in tenants.items()}
        object.__setattr__(self, "tenants", MappingProxyType(plain))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy without the read-only view of `tenants`, which allows neither."""
        return type(self), (self.default, dict(self.tenants), self.categories, self.terms)

    @classmethod
    def parse(
        cls, raw: Mapping[str, Any], *, now: dt.datetime | None = None, where: Located = lambda _: ""
    ) -> ContentPolicy:
        """A policy from plain data in the policy file's form. PolicyError lists its mistakes."""
        return _Reader(now or clock.now(), where).policy(raw)

    def grant(
        self, tenant: str | None, default: Default = "none", *, now: dt.datetime | None = None
    ) -> Grant:
        """The grant of `tenant` at `now`; `default` applies if the policy has no default.

        Without a tenant, or with the label for unknown ones, nothing is granted.
        """
        if type(tenant) is not str or tenant == semconv.UNKNOWN_TENANT:  # a subclass could equal any tenant
            return self.nothing()
        entry = self.tenants.get(tenant)
        if entry is None or not entry.active(now or clock.now()):
            return self.fallback(default)
        return entry.grant(self.categories, self.terms)

    def fallback(self, default: Default = "none") -> Grant:
        """The grant of named tenants without an active entry."""
        mode: Default = default if self.default is None else self.default
        return PolicyEntry(mode).grant(self.categories, self.terms)

    def nothing(self) -> Grant:
        """No content; the policy's terms are removed from everything else."""
        return PolicyEntry("none").grant(self.categories, self.terms)


def _is_text(value: object) -> bool:
    """Whether `value` really is a str: `isinstance` also believes an object's own `__class__`."""
    return issubclass(type(value), str)


def stricter(one: Default | None, other: Default | None) -> Default | None:
    """The more restrictive of two defaults; None means not set."""
    if "none" in (one, other):
        return "none"
    return one or other


class _Reader:
    """Validates plain data value by value and collects mistakes with their positions."""

    def __init__(self, now: dt.datetime, where: Located) -> None:
        self._now = now
        self._where = where
        self._mistakes: list[str] = []

    def policy(self, raw: Any) -> ContentPolicy:
        fields = self._table(raw, (), {"default", "tenants", "categories", "terms"})
        default = self._one_of(fields.get("default"), ("default",), ("none", "redacted"))
        listed = self._table(fields.get("tenants"), ("tenants",), None)
        if len(listed) > MAX_TENANTS:
            self._mistake(("tenants",), f"more than {MAX_TENANTS} entries")
            listed = {}
        tenants = {tenant: self._entry(tenant, entry) for tenant, entry in listed.items()}
        categories = self._categories(fields.get("categories"), ("categories",))
        terms = self._terms(fields.get("terms"), ("terms",))
        if self._mistakes:
            raise PolicyError("\n".join(self._mistakes[:20]))
        return ContentPolicy(default, tenants, ALL if categories is None else categories, terms)  # type: ignore[arg-type]

    def _entry(self, tenant: str, raw: Any) -> PolicyEntry:
        at = ("tenants", tenant)
        if not 0 < len(tenant) <= MAX_TENANT or not tenant.isprintable():
            self._mistake(at, f"a tenant id must have 1 to {MAX_TENANT} printable characters")
        fields = self._table(raw, at, {"content", "until", "reason", "safe_keys", "categories", "terms"})
        content = self._one_of(fields.get("content"), (*at, "content"), ("none", "redacted", "full"))
        if "content" not in fields:
            self._mistake(at, "content is required: none, redacted or full")
        until = self._until(fields.get("until"), (*at, "until"))
        reason = self._text(fields.get("reason"), (*at, "reason"), MAX_REASON)
        if content == "full":
            self._full(at, fields, until, reason)
        return PolicyEntry(
            content or "none",  # type: ignore[arg-type]
            until,
            reason,
            self._safe_keys(fields.get("safe_keys"), (*at, "safe_keys")),
            self._categories(fields.get("categories"), (*at, "categories")),
            self._terms(fields.get("terms"), (*at, "terms")),
        )

    def _full(
        self, at: tuple[str, ...], fields: Mapping[str, Any], until: dt.datetime | None, reason: str
    ) -> None:
        if "until" not in fields:
            self._mistake(at, "full requires until: a date at most 90 days ahead")
        elif until is not None and until > self._now + dt.timedelta(days=FULL_DAYS + 1):
            self._mistake((*at, "until"), f"full can be granted for at most {FULL_DAYS} days")
        if not reason.strip():
            self._mistake(at, "full requires reason: who requested it, and why")

    def _until(self, raw: Any, at: tuple[str, ...]) -> dt.datetime | None:
        """The end of the given day in UTC, or the given time."""
        if raw is None:
            return None
        if isinstance(raw, str):
            try:
                raw = dt.date.fromisoformat(raw) if len(raw) <= 10 else dt.datetime.fromisoformat(raw)
            except ValueError:
                raw = None
        if isinstance(raw, dt.datetime):
            with contextlib.suppress(
                OverflowError
            ):  # the first and last representable hours in other time zones
                if raw.tzinfo is not None:
                    return raw.astimezone(dt.UTC)
        elif isinstance(raw, dt.date) and raw < dt.date.max:
            return dt.datetime.combine(raw + dt.timedelta(days=1), dt.time(), dt.UTC)
        self._mistake(
            at, "use a date such as 2026-12-31 (its end in UTC), or a time with its offset from UTC"
        )
        return None

    def _safe_keys(self, raw: Any, at: tuple[str, ...]) -> tuple[str, ...]:
        keys = self._texts(raw, at, MAX_SAFE_KEYS, 129)
        for key in keys:
            if not _SAFE_KEY.fullmatch(key):
                self._mistake(
                    at,
                    f"{key[:40]!r}: use attribute names of at least 3 characters, optionally a * at the end",
                )
        return keys

    def _categories(self, raw: Any, at: tuple[str, ...]) -> frozenset[Category] | None:
        """The categories to detect; secrets are always included."""
        if raw is None:
            return None
        listed = frozenset(self._texts(raw, at, 8, 40))
        if not listed <= ALL:
            self._mistake(at, f"use {', '.join(sorted(ALL))}")
        return frozenset({*listed, "secrets"})  # type: ignore[arg-type]

    def _terms(self, raw: Any, at: tuple[str, ...]) -> tuple[str, ...]:
        terms = self._texts(raw, at, MAX_TERMS, MAX_TERM)
        if any(not any(character.isalnum() for character in term) for term in terms):
            self._mistake(at, "a term must contain a letter or digit")
        return terms

    # -- shapes ---------------------------------------------------------------------------------------------

    def _table(self, raw: Any, at: tuple[str, ...], known: set[str] | None) -> dict[str, Any]:
        if raw is None:
            return {}
        table = dict(raw) if isinstance(raw, Mapping) else {None: raw}
        if not all(map(_is_text, table)):
            self._mistake(at, "must be a table of names and values")
            return {}
        plain = {str.__str__(key): value for key, value in table.items()}
        for key in plain if known is not None else ():
            if key not in (known or ()):
                self._mistake((*at, key), f"unknown key, use {', '.join(sorted(known or ()))}")
        return plain

    def _one_of(self, raw: Any, at: tuple[str, ...], choices: tuple[str, ...]) -> str | None:
        if raw is None:
            return None
        word = str.__str__(raw) if _is_text(raw) else ""
        if word in choices:
            return word
        self._mistake(at, f"use {' or '.join(choices)}")
        return None

    def _text(self, raw: Any, at: tuple[str, ...], most: int) -> str:
        if raw is None:
            return ""
        text = str.__str__(raw) if _is_text(raw) else None
        if text is not None and len(text) <= most and text.isprintable():
            return text
        self._mistake(at, f"use one line of text, at most {most} characters")
        return ""

    def _texts(self, raw: Any, at: tuple[str, ...], count: int, most: int) -> tuple[str, ...]:
        if raw is None:
            return ()
        items = tuple(raw) if isinstance(raw, (list, tuple, set, frozenset)) else (None,)
        if len(items) <= count and all(map(_is_text, items)):
            texts = tuple(map(str.__str__, items))
            if all(0 < len(text) <= most for text in texts):
                return texts
        self._mistake(at, f"use a list of at most {count} texts of 1 to {most} characters")
        return ()

    def _mistake(self, at: tuple[str, ...], message: str) -> None:
        path = ".".join(part if part.isprintable() else repr(part) for part in at)[:120]
        self._mistakes.append(f"{self._where(at)}{path + ': ' if path else ''}{message}")
