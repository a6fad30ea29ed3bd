"""What each tenant has in a batch, and its form on disk beside the batch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from somatrace import semconv
from somatrace.delivery.outgoing_span import EncodedSpan

#: Where spans count whose tenant is not known.
UNKNOWN: Final = semconv.UNKNOWN_TENANT


class TenantShare(NamedTuple):
    """Spans of one tenant, their bytes, and those of its further copy with content, if there is one."""

    spans: int
    size: int
    content: int = 0


#: By tenant, as the guard shows it.
Shares = Mapping[str, TenantShare]


def shares_of(
    spans: Sequence[EncodedSpan], with_content: Sequence[EncodedSpan] = ()
) -> dict[str, TenantShare]:
    """The shares of a batch, which may have a further copy with content."""
    found: dict[str, list[int]] = {}
    for span in spans:
        share = found.get(span.tenant)
        if share is None:
            share = found[span.tenant] = [0, 0, 0]
        share[0] += 1
        share[1] += len(span.content)
    whole = content = 0
    if with_content:
        for span, with_it in zip(spans, with_content, strict=True):
            whole += len(with_it.content)
            if with_it.content != span.content:
                content += len(with_it.content)
                found[span.tenant][2] += len(with_it.content)
        # the copy has the other spans, too: on account of those with content
        for share in found.values():
            share[2] = share[2] * whole // max(1, content)
    return {tenant: TenantShare(*share) for tenant, share in found.items()}


def summed(shares: Iterable[Shares]) -> dict[str, TenantShare]:
    """The shares of several batches together."""
    total: dict[str, TenantShare] = {}
    for one in shares:
        for tenant, share in one.items():
            known = total.get(tenant)
            total[tenant] = share if known is None else TenantShare(*map(sum, zip(known, share, strict=True)))
    return total


def spans_of(shares: Shares, spans: int) -> dict[str, int]:
    """The number of spans by tenant, `spans` in all."""
    found = {tenant: share.spans for tenant, share in shares.items()}
    if more := spans - sum(found.values()):
        found[UNKNOWN] = found.get(UNKNOWN, 0) + more
    return found


def divided(tenants: Mapping[str, int], number: int) -> tuple[dict[str, int], dict[str, int]]:
    """`number` spans and the others, where it is not known which: those of the largest tenants come first."""
    taken, rest = {}, dict(tenants)
    for tenant in sorted(rest, key=lambda one: (-rest[one], one)):
        if part := min(number, rest[tenant]):
            taken[tenant] = part
            rest[tenant] -= part
            number -= part
    return taken, rest


def noted(shares: Shares) -> bytes:
    """The form on disk."""
    return json.dumps(shares, separators=(",", ":")).encode()


def parsed(note: bytes) -> dict[str, TenantShare]:
    """The inverse of `noted`; empty for anything else."""
    try:
        found: Any = json.loads(note)
        return {str(tenant): TenantShare(*map(int, share)) for tenant, share in found.items()}
    except (AttributeError, TypeError, ValueError):
        return {}
