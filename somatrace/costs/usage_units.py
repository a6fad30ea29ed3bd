"""The counts that have prices, by the names under which Langfuse gets them, and what each falls back to."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

_MILLIONTH: Final = Decimal("0.000001")
_THOUSANDTH: Final = Decimal("0.001")

#: Prices by the thousand; those of tokens and characters are by the million.
BY_THOUSAND: Final = frozenset(
    {
        "requests",
        "rerank_searches",
        "web_searches",
        "storage_searches",
        "input_document_pages",
        "input_annotated_document_pages",
    }
)
#: By the name of a count: the prices of other counts that apply, in order, where it has none of its own.
FALLBACKS: Final[dict[str, tuple[str, ...]]] = {
    "input": (),
    "input_text_tokens": ("input",),
    "input_cached_tokens": ("input",),
    "input_cached_text_tokens": ("input_cached_tokens", "input"),
    "input_cache_creation": ("input",),
    "input_cache_creation_5m": ("input_cache_creation", "input"),
    "input_cache_creation_1h": ("input",),
    "input_audio_tokens": ("input",),
    "input_cached_audio_tokens": ("input_audio_tokens", "input_cached_tokens", "input"),
    "input_image_tokens": ("input",),
    "input_cached_image_tokens": ("input_image_tokens", "input_cached_tokens", "input"),
    "input_video_tokens": ("input",),
    "input_characters": (),
    "input_document_pages": (),
    "input_annotated_document_pages": (),
    "output": (),
    "output_text_tokens": ("output",),
    "output_reasoning_tokens": ("output",),
    "output_citation_tokens": ("output",),
    "output_audio_tokens": ("output",),
    "output_image_tokens": ("output",),
    "output_video_tokens": ("output",),
    "rerank_searches": (),
    "web_searches": (),
    "storage_searches": (),
    "requests": (),
}
#: A cache that is kept for an hour costs more to write than the usual one, so its price is no substitute.
DEARER: Final = {"input_cache_creation_1h": ("input_cache_creation", "input_cache_creation_5m")}


def unit_of(name: str) -> Decimal:
    """What a price is multiplied by to have that of one unit."""
    return _THOUSANDTH if name in BY_THOUSAND else _MILLIONTH
