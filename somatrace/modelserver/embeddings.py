"""POST /v1/embeddings: hashed bags of words, so that texts with common words have similar vectors."""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

from somatrace.modelserver.protocol import ApiError, Fields
from somatrace.modelserver.text import count_tokens, words

DIMENSIONS: Final = 256
_MAX_DIMENSIONS: Final = 2_048
_MAX_INPUTS: Final = 2_048
_PAIR_WEIGHT: Final = 0.5


def embeddings(fields: Fields) -> dict[str, Any]:
    """The answer to an embeddings request; raises `ApiError` 400 if malformed."""
    inputs = _inputs(fields)
    size = fields.integer("dimensions", 1, _MAX_DIMENSIONS) or DIMENSIONS
    if (encoding := fields.text("encoding_format", "float")) not in ("float", "base64"):
        raise fields.error("encoding_format", "float or base64")
    vectors = [vector(features, size) for features, _ in inputs]
    used = sum(count for _, count in inputs)
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": embedding}
            for index, embedding in enumerate(map(_encoded, vectors) if encoding == "base64" else vectors)
        ],
        "model": fields.text("model"),
        "usage": {"prompt_tokens": used, "total_tokens": used},
    }


def vector(features: Sequence[str], size: int = DIMENSIONS) -> list[float]:
    """A unit vector (zeros without features) of words, plus adjacent pairs at half weight."""
    values = [0.0] * size
    pairs = [(f"{first} {second}", _PAIR_WEIGHT) for first, second in pairwise(features)]
    for feature, weight in [(feature, 1.0) for feature in features] + pairs:
        place = _hash(feature)
        values[place // 2 % size] += weight if place % 2 else -weight
    length = math.sqrt(sum(value * value for value in values))
    return [value / length for value in values] if length else values


def _inputs(fields: Fields) -> list[tuple[list[str], int]]:
    """Each input's features and token count. An input is text or a list of token numbers."""
    value = fields.values.get("input")
    if isinstance(value, str) or _are_tokens(value):
        value = [value]
    if not isinstance(value, list) or not 0 < len(value) <= _MAX_INPUTS:
        raise fields.error("input", f"a string, or an array of 1 to {_MAX_INPUTS} strings or token arrays")
    return [_features(each) for each in value]


def _features(value: object) -> tuple[list[str], int]:
    if isinstance(value, str) and value:
        return words(value), count_tokens(value)
    if isinstance(value, list) and _are_tokens(value):
        # some clients send token numbers, which work as well as words for similarity
        return [f"#{number}" for number in value], len(value)
    raise ApiError(400, "Each 'input' must be a non-empty string or array of token numbers.", param="input")


def _are_tokens(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(type(each) is int for each in value)


def _encoded(values: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode("ascii")


@lru_cache(maxsize=20_000)
def _hash(feature: str) -> int:
    digest = hashlib.blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")
