"""The content policy configured by the settings."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from somatrace.config import Settings
from somatrace.guard.policy.resolver import PolicyResolver
from somatrace.guard.redaction.pseudonyms import Pseudonym


def grants_of(settings: Settings) -> PolicyResolver:
    """The policy of each tenant: from code, the policy file, and the process-wide switch."""
    file = settings.content_policy_file
    explicit = settings.sources.get("content", "default") != "default"
    return PolicyResolver(
        settings.content_policy,
        path=Path(file) if file else None,
        default=("redacted" if settings.content == "redacted" else "none") if explicit else None,
        never=settings.content == "never",
    )


def allows_content(grants: PolicyResolver) -> Callable[[str | None], bool]:
    """Whether libraries may record a tenant's content; the guard still filters it before it leaves."""
    return lambda tenant: grants.resolve(tenant).mode != "none"


def in_force(grants: PolicyResolver) -> Callable[[str, str], bool]:
    """Whether a tenant's grant, given by its fingerprint, is in force: for spans that have waited."""

    def is_in_force(tenant: str, fingerprint: str) -> bool:
        grant = grants.resolve(tenant)
        return grant.shows_content and grant.fingerprint == fingerprint

    return is_in_force


def pseudonyms_of(settings: Settings) -> Callable[[str | None], Pseudonym | None]:
    """Pseudonyms per tenant, cached for the last thousand tenants; None without a usable key."""
    key = settings.pseudonym_key

    @functools.lru_cache(maxsize=1024)
    def of(tenant: str | None) -> Pseudonym | None:
        if not key or tenant is None:
            return None
        try:
            return Pseudonym(key, tenant)
        except ValueError:  # too short: already reported by `resolve`
            return None

    return of
