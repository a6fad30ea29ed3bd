"""Remove the terms of one grant from texts that were checked for everything else."""

from __future__ import annotations

import functools
from typing import Any, Final

from somatrace import semconv
from somatrace.context.tags import Scalar, Tags
from somatrace.guard.detection.detectors.own_terms import dictionary
from somatrace.guard.detection.engine import Detector
from somatrace.guard.policy.model import Grant
from somatrace.guard.redaction.redact import redact_text
from somatrace.guard.verdict_cache import MAX_DECLARED

#: Size of the cache of texts already searched for a grant's terms.
_MAX_SEARCHED: Final = 1024


class TermFilter:
    """The terms of a grant, which apply unless the grant is `full`. False if there are none."""

    def __init__(self, grant: Grant) -> None:
        self.detectors = () if grant.mode == "full" else (*_detectors(grant.terms), *_detectors(grant.own))
        self._searched: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self.detectors)

    def words(self, text: str) -> str:
        """A name, key or declared text without the terms."""
        if not self.detectors:
            return text
        found = self._searched.get(text)
        if found is None:
            found = redact_text(text, categories=(), extra=self.detectors)
            if len(self._searched) >= _MAX_SEARCHED:
                self._searched.clear()
            if len(text) <= MAX_DECLARED:
                self._searched[text] = found
        return found

    def value(self, value: Any) -> Any:
        """A value, with the terms removed from its texts."""
        if isinstance(value, tuple):
            return tuple(map(self.value, value))
        return self.words(value) if isinstance(value, str) else value

    def mapping(self, values: dict[str, Any]) -> dict[str, Any]:
        """Keys and values without the terms."""
        if not self.detectors:
            return values
        return {self.words(name): self.value(value) for name, value in values.items()}

    def values_of_tags(self, tags: dict[str, Scalar]) -> dict[str, Scalar]:
        """Tags without the terms, except in the tenant's id, which identifies the tenant."""
        if not self.detectors:
            return tags
        return {
            self.words(name): tag if name == semconv.TENANT else self.value(tag) for name, tag in tags.items()
        }

    def tags(self, tags: Tags) -> Tags:
        """Tags without the terms."""
        return Tags(self.values_of_tags(dict(tags.bound)), self.values_of_tags(dict(tags.derived)))


@functools.lru_cache(maxsize=256)
def _detectors(terms: tuple[str, ...]) -> tuple[Detector, ...]:
    """The detector for terms, cached per set of terms."""
    return (dictionary(terms),) if terms else ()
