"""Rank the sentences of the corpus and of the prompt's context against a question (BM25)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from somatrace.modelserver.text import sentences, words

_K1: Final = 1.2
_B: Final = 0.75
#: Context from the prompt is more relevant than the server's own corpus.
_CONTEXT_WEIGHT: Final = 1.6
#: Sentences of context that are ranked, so that one request cannot occupy the server.
_MAX_CONTEXT: Final = 2_000


@dataclass(frozen=True, slots=True)
class Sentence:
    """A candidate sentence: its text, its search terms (including its heading's) and its source."""

    text: str
    terms: Counter[str]
    length: int
    source: str


@dataclass(frozen=True, slots=True)
class ScoredSentence:
    """A sentence and its positive score."""

    sentence: Sentence
    score: float


def _candidate(text: str, heading: str, source: str) -> Sentence:
    terms = Counter(words(heading + " " + text))
    return Sentence(text, terms, terms.total(), source)


class Corpus:
    """The sentences of Markdown sections (`## heading`, text) and their word statistics."""

    def __init__(self, markdown: str) -> None:
        self._sentences: list[Sentence] = []
        for section in markdown.split("\n## ")[1:]:
            heading, _, body = section.partition("\n")
            flowing = " ".join(body.split())
            self._sentences += [_candidate(text, heading, heading) for text in sentences(flowing)]
        self._frequency = Counter(term for sentence in self._sentences for term in sentence.terms)
        self._length = sum(sentence.length for sentence in self._sentences)

    def __len__(self) -> int:
        return len(self._sentences)

    def rank(self, question: str, context: Sequence[str] = ()) -> list[ScoredSentence]:
        """The sentences that share a word with `question`, best first; ties in order of appearance."""
        asked = set(words(question))
        extra = [_candidate(text, "", "context") for text in context[:_MAX_CONTEXT]]
        frequency = self._frequency + Counter(term for sentence in extra for term in sentence.terms)
        number = len(self._sentences) + len(extra)
        average = (self._length + sum(sentence.length for sentence in extra)) / max(number, 1)
        rarity = {
            term: math.log(1 + (number - frequency[term] + 0.5) / (frequency[term] + 0.5))
            for term in sorted(asked)
        }
        hits = [
            ScoredSentence(sentence, _CONTEXT_WEIGHT * _score(sentence, rarity, average))
            for sentence in extra
        ]
        hits += [ScoredSentence(sentence, _score(sentence, rarity, average)) for sentence in self._sentences]
        return sorted((hit for hit in hits if hit.score > 0), key=lambda hit: -hit.score)


def _score(sentence: Sentence, rarity: dict[str, float], average: float) -> float:
    norm = _K1 * (1 - _B + _B * sentence.length / average) if average else _K1
    return sum(
        weight * sentence.terms[term] * (_K1 + 1) / (sentence.terms[term] + norm)
        for term, weight in rarity.items()
        if term in sentence.terms
    )


@cache
def handbook() -> Corpus:
    """The corpus shipped with the package: the handbook of a fictional company."""
    return Corpus(files("somatrace.modelserver").joinpath("handbook.md").read_text(encoding="utf-8"))
