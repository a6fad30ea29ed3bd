"""Whose content may be recorded and leave, from the settings."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from somatrace.config import Settings
from somatrace.guard.policy.resolver import PolicyResolver
from somatrace.guard.redaction.pseudonyms import Pseudonym


def grants_of(settings: Settings) -> PolicyResolver:
    """What tenants are granted: the policy given in code, the policy file, and the process-wide switch."""
    file = settings.content_policy_file
    said = settings.sources.get("content", "default") != "default"
    return PolicyResolver(
        settings.content_policy,
        path=Path(file) if file else None,
        default=("redacted" if settings.content == "redacted" else "none") if said else None,
        never=settings.content == "never",
    )


def allows_content(grants: PolicyResolver) -> Callable[[str | None], bool]:
    """Whether libraries may record a tenant's content; the guard still decides what of it leaves."""
    return lambda tenant: grants.resolve(tenant).mode != "none"


def pseudonyms_of(settings: Settings) -> Callable[[str | None], Pseudonym | None]:
    """For each tenant what makes its pseudonyms, kept for the last thousand; None without a usable key."""
    key = settings.pseudonym_key

    @functools.lru_cache(maxsize=1024)
    def of(tenant: str | None) -> Pseudonym | None:
        if not key or tenant is None:
            return None
        try:
            return Pseudonym(key, tenant)
        except ValueError:  # too short: `resolve` has said so
            return None

    return of
