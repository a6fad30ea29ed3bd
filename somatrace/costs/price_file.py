"""The user's prices: contracts, self-hosted models, other currencies, and the names of deployments.

The format is documented in docs/costs.md.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

from somatrace.costs.currencies import CURRENCIES
from somatrace.costs.located_json import LocatedJson, LocatedJsonError
from somatrace.costs.located_json import Path as At
from somatrace.costs.price_list import PriceList
from somatrace.costs.price_row import PriceRow, day_of
from somatrace.costs.providers import host_of, provider_of
from somatrace.costs.usage_units import FALLBACKS
from somatrace.runtime.watched_file import MAX_BYTES, read_file

MAX_ROWS: Final = 10_000
MAX_TEXT: Final = 256
_MAX_PRICE: Final = Decimal(1_000_000_000)
_MAX_PLACES: Final = 15
_TIME: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_TOP: Final = ("currency", "deployments", "note", "prices", "version")
_ROW: Final = (
    "above",
    "currency",
    "dated",
    "from",
    "hours",
    "model",
    "names",
    "note",
    "prices",
    "provider",
    "server",
    "service",
    "until",
)


class PriceFileError(Exception):
    """A price file that cannot be used. The message names the line, the field and how to fix it."""

    def __init__(self, line: int, field: str, problem: str) -> None:
        super().__init__(f"line {line}: {field}: {problem}" if field else f"line {line}: {problem}")


class PriceFile(NamedTuple):
    """The prices of a file, which win over the table's. Rows with a problem are left out."""

    rows: Sequence[PriceRow]
    #: Models by the names of deployments, or by the server's host, `/` and such a name.
    deployments: Mapping[str, str]
    version: str
    problems: Sequence[PriceFileError]
    prices: PriceList

    @property
    def strict(self) -> PriceFile:
        """The file if it has no problem. Raises PriceFileError."""
        if self.problems:
            raise self.problems[0]
        return self


def read_price_file(path: Path) -> PriceFile:
    """The prices of a file. OSError if it cannot be read, PriceFileError if none of it can be used."""
    return parse_prices(read_file(path)[0])


def parse_prices(raw: bytes) -> PriceFile:
    """The prices in a file's bytes. Raises PriceFileError if none of them can be used."""
    if len(raw) > MAX_BYTES:
        raise PriceFileError(1, "", f"larger than {MAX_BYTES} bytes")
    try:
        json = LocatedJson(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise PriceFileError(raw.count(b"\n", 0, error.start) + 1, "", "not UTF-8") from None
    except LocatedJsonError as error:
        raise PriceFileError(error.line, "", str(error)) from None
    return _Parser(json, hashlib.sha256(raw).hexdigest()[:12]).file()


class _Parser:
    """Turns the values of a file into rows; each method checks the value at one place."""

    def __init__(self, json: LocatedJson, digest: str) -> None:
        self._json = json
        self._digest = digest

    def file(self) -> PriceFile:
        top = self._object((), self._json.value, _TOP)
        currency = self._currency(("currency",), top.get("currency", "USD"))
        version = self._text(("version",), top.get("version", self._digest))
        given = self._object(("deployments",), top.get("deployments", {}))
        deployments = {name: self._text(("deployments", name), model) for name, model in given.items()}
        rows, problems = [], []
        for number, row in enumerate(self._list(("prices",), top.get("prices", []), MAX_ROWS)):
            try:
                rows.append(self._row(("prices", number), row, currency, version))
            except PriceFileError as error:
                problems.append(error)
        by_provider: dict[str, list[PriceRow]] = {}
        for one in rows:
            by_provider.setdefault(one.provider, []).append(one)
        prices = PriceList(lambda provider: by_provider.get(provider, ()))
        return PriceFile(rows, deployments, version, problems, prices)

    def _row(self, at: At, value: object, currency: str, version: str) -> PriceRow:
        row = self._object(at, value, _ROW)
        for name in ("model", "prices"):
            if name not in row:
                self._fail((*at, name), "is missing")

        def optional(name: str, read: Callable[[At, Any], Any], default: Any = None) -> Any:
            return read((*at, name), row[name]) if name in row else default

        first, last = optional("from", self._day), optional("until", self._day)
        if first is not None and last is not None and last < first:
            self._fail((*at, "until"), "use a date that is not before `from`")
        return PriceRow(
            provider_of(optional("provider", self._text, "")),
            self._text((*at, "model"), row["model"]).lower(),
            self._prices((*at, "prices"), row["prices"]),
            optional("above", self._above, ()),
            optional("names", self._names, ()),
            optional("dated", self._names, ()),
            first=first,
            last=last,
            hours=optional("hours", self._hours),
            service=optional("service", self._text, "").lower(),
            server=optional("server", self._server, ""),
            currency=optional("currency", self._currency, currency),
            source="file",
            version=version,
        )

    def _prices(self, at: At, value: object) -> dict[str, Decimal]:
        prices = self._object(at, value, FALLBACKS)
        if not prices:
            self._fail(at, "give at least one price")
        return {name: self._price((*at, name), price) for name, price in prices.items()}

    def _price(self, at: At, value: object) -> Decimal:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,15})?", value):
            value = Decimal(value)
        if not isinstance(value, Decimal) or not 0 <= value <= _MAX_PRICE:
            self._fail(at, f"use a number from 0 to {_MAX_PRICE:,}")
        exponent = value.as_tuple().exponent
        if not isinstance(exponent, int) or exponent < -_MAX_PLACES:
            self._fail(at, f"use at most {_MAX_PLACES} decimal places")
        return value

    def _above(self, at: At, value: object) -> list[tuple[int, dict[str, Decimal]]]:
        return [self._step((*at, number), step) for number, step in enumerate(self._list(at, value))]

    def _step(self, at: At, value: object) -> tuple[int, dict[str, Decimal]]:
        step = self._list(at, value)
        if len(step) != 2 or not isinstance(step[0], Decimal) or not 0 < step[0] < 10**12 or step[0] % 1:
            self._fail(at, "use [input tokens, prices], such as [200000, {...}]")
        return int(step[0]), self._prices((*at, 1), step[1])

    def _hours(self, at: At, value: object) -> tuple[int, int]:
        times = [_TIME.fullmatch(time) for time in self._list(at, value) if isinstance(time, str)]
        if len(times) != 2 or times[0] is None or times[1] is None:
            self._fail(at, 'use two times in UTC, such as ["16:30", "00:30"]')
        start, end = (int(time[1]) * 3600 + int(time[2]) * 60 for time in times if time)
        return start, end

    def _day(self, at: At, value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
            try:
                return day_of(dt.date.fromisoformat(value))
            except ValueError:
                pass
        return self._fail(at, "use a date such as 2026-12-31")

    def _currency(self, at: At, value: object) -> str:
        if not isinstance(value, str) or value not in CURRENCIES:
            self._fail(at, "use the code of a currency (ISO 4217), such as USD or EUR")
        return value

    def _server(self, at: At, value: object) -> str:
        text = self._text(at, value)
        host = host_of(text.removeprefix("*"))
        if not host:
            self._fail(at, "use a host such as llm.example.com, or *.example.com")
        return f"*{host}" if text.startswith("*") else host

    def _names(self, at: At, value: object) -> list[str]:
        return [self._text((*at, number), name).lower() for number, name in enumerate(self._list(at, value))]

    def _text(self, at: At, value: object) -> str:
        text = value.strip() if isinstance(value, str) else ""
        if not text or len(text) > MAX_TEXT or not text.isprintable():
            self._fail(at, f"use a text of 1 to {MAX_TEXT} printable characters")
        return text

    def _list(self, at: At, value: object, most: int = MAX_TEXT) -> list[Any]:
        if not isinstance(value, list) or len(value) > most:
            self._fail(at, f"use a list of at most {most}")
        return value

    def _object(self, at: At, value: object, known: Collection[str] | None = None) -> dict[str, Any]:
        if not isinstance(value, dict):
            self._fail(at, "use an object: {...}")
        for name in value:
            if known is not None and name not in known:
                self._fail((*at, name[:MAX_TEXT]), "is unknown; known are " + ", ".join(known))
        return value

    def _fail(self, at: At, problem: str) -> NoReturn:
        raise PriceFileError(self._json.line_of(at), _field(at), problem)


def _field(at: At) -> str:
    """A place as it is written: prices[2].prices.input."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in at).removeprefix(".")
    return "".join(character for character in text if character.isprintable())
