"""Costs in US dollars, the only currency that Langfuse knows."""

from __future__ import annotations

import logging
import re
from typing import Final

_DOLLARS: Final = "USD"
_CODE: Final = re.compile(r"[A-Za-z]{3}")
#: Currencies that are reported; a program has few.
_MOST: Final = 16
_problems: Final[dict[str, str]] = {}

log = logging.getLogger("somatrace")


def in_dollars(paid: float, currency: str, rate: float | None) -> float | None:
    """An amount in US dollars; None for another currency without a rate, which is logged once."""
    if currency.upper() == _DOLLARS:
        return paid
    if rate:
        return paid * rate
    code = currency.upper() if _CODE.fullmatch(currency) else "an unknown currency"
    if code not in _problems and len(_problems) < _MOST:
        _problems[code] = (
            f"usage: costs in {code} are not sent to Langfuse, which reads them as US dollars: give usd_rate"
        )
        log.warning("%s", _problems[code])
    return None


def problems() -> tuple[str, ...]:
    """The currencies of which no cost was sent."""
    return tuple(_problems.values())
