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
#: Where Bedrock runs a model of an inference profile. `global` has prices of its own.
_BEDROCK_PLACE: Final = re.compile(r"^(?:us|us-gov|eu|apac|au|jp|in|ca|sa|me|af)\.(?=[a-z0-9]+\.)")
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


def _bedrock_names(name: str) -> Iterator[str]:
    arn = _BEDROCK_ARN.search(name)
    if arn:
        name = arn[1]
    elif "arn:" in name:
        return  # a profile or a throughput of the account's own: only its owner knows the model
    *path, name = name.split("/")
    if any(part.startswith("us-gov") for part in path):
        return  # other prices
    name = _CONTEXT_SIZE.sub("", name)
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
