"""The names under which a model may be known: paths, ARNs, regions, versions and dates are taken off.

A name is only ever shortened by what cannot make it another model, so an unknown model stays unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

#: A version, a date or a channel at the end of a name.
_VERSION: Final = re.compile(
    r"(?:[-@](?:20\d{6}|20\d\d-\d\d-\d\d|\d\d-\d\d|\d\d-20\d\d|\d{3,4}|latest|default|preview|exp|experimental|v\d+)"
    r"|(?<=\d):\d+|:\d+k)$"
)
_COMPACT_DATE: Final = re.compile(r"-(20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])$")
_BEDROCK_ARN: Final = re.compile(
    r"(?:^|/)arn:aws[\w-]*:bedrock:[^:/]*:\d*:(?:foundation-model|inference-profile)/(.+)$"
)
#: Where Bedrock runs a model of an inference profile. `global` has rows of its own.
_BEDROCK_PLACE: Final = re.compile(r"^(?:us|us-gov|eu|apac|au|jp|in|ca|sa|me|af)\.(?=[a-z0-9]+\.)")
#: Regions and places of Bedrock outside of the United States, and those of its government.
_ABROAD: Final = re.compile(
    r"(?:^|[/.:])(?:(?!us-)[a-z]{2}-[a-z]+-\d\b|(?:eu|apac|au|jp|in|ca|sa|me|af)\.[a-z])"
)
_GOVERNMENT: Final = re.compile(r"(?:^|[/.:])us-gov[.-]")
_CONTEXT_SIZE: Final = re.compile(r":\d+k$")
_VERTEX_PATH: Final = re.compile(r"(?:^|/)publishers/[^/]+/models/([^/:]+)(?::\w+)?$")
_FINE_TUNE: Final = re.compile(r"^(ft:[^:]+):")
_AZURE_PATH: Final = re.compile(r"^(?:global(?:-standard)?|responses)/(?=.)")


def shortened(name: str) -> Iterator[str]:
    """The name without its version or date, then without what precedes that."""
    while (shorter := _VERSION.sub("", name)) != name and shorter:
        yield shorter
        name = shorter


def with_dashed_date(name: str) -> str:
    """The name with a date such as 20251211 written as 2025-12-11."""
    return _COMPACT_DATE.sub(r"-\1-\2-\3", name)


def names_at(provider: str, name: str) -> Iterator[str]:
    """What a model's name may be in the price list of a provider, the most exact one first."""
    match provider:
        case "aws":
            yield from _bedrock_names(name)
        case "google":
            yield from _vertex_names(name)
        case "openai":
            tuned = _FINE_TUNE.match(name)
            yield tuned[1] if tuned else name.removeprefix("responses/")
        case "azure":
            yield _AZURE_PATH.sub("", name)
        case _:
            yield name


def has_other_prices(provider: str, name: str, host: str, row: str) -> bool:
    """Whether a model costs something else where it was called than the row of the published table says.

    Bedrock's prices differ by region, but for Anthropic's models and those with rows for regions.
    """
    if provider != "aws":
        return False
    called = f"{host}/{name}"
    if _GOVERNMENT.search(called):
        return True
    return (
        not ("anthropic." in row or row.startswith(("global.", "regional.")))
        and _ABROAD.search(called) is not None
    )


def _bedrock_names(name: str) -> Iterator[str]:
    arn = _BEDROCK_ARN.search(name)
    if arn:
        name = arn[1]
    elif "arn:" in name:
        return  # a profile or a throughput of the account's own: only its owner knows the model
    name = _CONTEXT_SIZE.sub("", name.rpartition("/")[2])
    yield name
    placed = _BEDROCK_PLACE.sub("", name)
    if placed != name:
        yield placed
    if placed.startswith("anthropic."):
        yield placed.removeprefix("anthropic.")


def _vertex_names(name: str) -> Iterator[str]:
    published = _VERTEX_PATH.search(name)
    if published:
        yield published[1]
    elif not name.startswith(("projects/", "tunedmodels/")):
        yield name.removeprefix("models/")
