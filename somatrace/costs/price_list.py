"""Find the rows of a model in a price list by any of its names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from somatrace.costs.model_names import names_at, shortened, with_dashed_date
from somatrace.costs.price_row import PriceRow


class PriceList:
    """The rows of all providers; those of one are read and indexed when they are asked for.

    A provider that offers models of others has them at the prices of those in `fallbacks`, unless it has its
    own.
    """

    def __init__(
        self,
        rows_of: Callable[[str], Iterable[PriceRow]],
        fallbacks: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._rows_of = rows_of
        self._fallbacks: Final = fallbacks or {}
        self._indexes: dict[str, _Index] = {}

    def find(self, provider: str, name: str, day: int, host: str, *, place: str = "") -> Sequence[PriceRow]:
        """The rows of a model that apply on a day to calls of a host, () if there are none.

        `place` decides how names look; else `provider` does.
        """
        for other in (provider, *self._fallbacks.get(provider, ())):
            index = self._index(other)
            for spelling in names_at(place or provider, name):
                if rows := index.find(spelling):
                    return [row for row in rows if row.applies_on(day, host)]
        return ()

    def _index(self, provider: str) -> _Index:
        index = self._indexes.get(provider)
        if index is None:
            index = self._indexes[provider] = _Index(self._rows_of(provider))
        return index


class _Index:
    """The rows of a provider by the names of their models."""

    def __init__(self, rows: Iterable[PriceRow]) -> None:
        self._whole: dict[str, list[PriceRow]] = {}
        self._dated: dict[str, list[PriceRow]] = {}
        models: dict[str, list[PriceRow]] = {}
        for row in rows:
            found = models.setdefault(row.model, [])
            found.append(row)
            for name in (row.model.lower(), *row.names):
                self._whole.setdefault(name, found)
            for name in row.dated:
                self._dated.setdefault(name, found)

    def find(self, name: str) -> Sequence[PriceRow]:
        whole, dated = self._whole, self._dated
        found = whole.get(name) or dated.get(name) or whole.get(with_dashed_date(name))
        return found or next((dated[shorter] for shorter in shortened(name) if shorter in dated), ())
