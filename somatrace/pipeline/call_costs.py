"""The cost of a model call, from the counts that it is billed for: added where those are, on the worker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from somatrace import semconv
from somatrace.runtime.fail_safe import fail_safe

if TYPE_CHECKING:
    from somatrace.costs.price_book import Price, PriceBook

#: A span with one of them has a cost that the program or another library knows better.
_KNOWN_COSTS: Final = frozenset(
    (semconv.OBSERVATION_COST, semconv.COST_AMOUNT, "gen_ai.usage.cost", "llm.cost.total")
)
#: What a call was served as, such as batch or flex, before what was asked for.
_SERVICE_ORDER: Final = (
    "openai.response.service_tier",
    "gen_ai.openai.response.service_tier",
    "openai.request.service_tier",
    "gen_ai.openai.request.service_tier",
)
_SERVICES: Final = frozenset(_SERVICE_ORDER)
_UNKNOWN: Final[Mapping[str, Any]] = {semconv.COST_SOURCE: "unknown"}
#: Models without a price that are counted apart; the others share a count.
_MOST: Final = 100
NO_MODEL: Final = "(no model)"
OTHER_MODELS: Final = "(others)"


class CallCosts:
    """Prices the calls of one pipeline. Used by the worker's thread."""

    def __init__(self, open_book: Callable[[], PriceBook]) -> None:
        """`open_book` is called with the first call that has tokens."""
        self._open_book = open_book
        self._book: PriceBook | None = None
        #: Calls without a known price, by model.
        self.unpriced: Counter[str] = Counter()
        self._counts = True

    def forget(self) -> None:
        """Count anew in a forked child."""
        self.unpriced = Counter()

    @property
    def problem(self) -> str:
        """The current problem with the user's prices, "" if there is none."""
        return "" if self._book is None else self._book.problem

    def refresh(self) -> None:
        """Use the user's prices as they are now."""
        if self._book is not None:
            with fail_safe("prices"):  # the spans of the batch must not be lost with it
                self._book.refresh()

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """A block in which spans are priced that were counted before."""
        self._counts = False
        try:
            yield
        finally:
            self._counts = True

    def of(self, values: Mapping[str, Any], counts: Mapping[str, int], time_ns: int) -> Mapping[str, Any]:
        """What to add to the attributes of a span with these disjoint counts of tokens.

        `time_ns` is when it ended: prices change. An unknown price is said to be unknown, and never 0.
        """
        with fail_safe("cost"):
            return self._of(values, counts, time_ns)
        return _UNKNOWN

    def _of(self, values: Mapping[str, Any], counts: Mapping[str, int], time_ns: int) -> Mapping[str, Any]:
        counts = {name: count for name, count in counts.items() if count}
        if not counts or not _KNOWN_COSTS.isdisjoint(values):
            return {}
        model = values.get(semconv.RESPONSE_MODEL) or values.get(semconv.REQUEST_MODEL)
        price = self._price(values, str(model), counts, time_ns) if model else None
        if price is None:
            self._count(str(model) if model else NO_MODEL)
            return _UNKNOWN
        return _attributes(price)

    def _price(
        self, values: Mapping[str, Any], model: str, counts: Mapping[str, int], time_ns: int
    ) -> Price | None:
        if self._book is None:
            self._book = self._open_book()
        provider = values.get(semconv.PROVIDER) or values.get(semconv.SYSTEM) or ""
        address = values.get(semconv.SERVER_ADDRESS) or ""
        service = ""
        if not _SERVICES.isdisjoint(values):
            service = next(values[key] for key in _SERVICE_ORDER if key in values)
        return self._book.price(
            str(provider), model, counts, time_ns, server_address=str(address), service=str(service)
        )

    def _count(self, model: str) -> None:
        if self._counts:
            known = model in self.unpriced or len(self.unpriced) < _MOST
            self.unpriced[model if known else OTHER_MODELS] += 1


def _attributes(price: Price) -> Mapping[str, Any]:
    found: dict[str, Any] = {
        semconv.COST_AMOUNT: float(price.total),
        semconv.COST_CURRENCY: price.currency,
        semconv.COST_SOURCE: price.source,
        semconv.PRICE_TABLE: price.version,
    }
    if price.currency == "USD":  # Langfuse knows no other currency
        parts = {**price.details, "total": price.total}
        found[semconv.OBSERVATION_COST] = (
            "{" + ", ".join([f'"{name}": {amount:f}' for name, amount in parts.items()]) + "}"
        )
    return found
