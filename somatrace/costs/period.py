"""The period of a report, from texts such as `7d` and `2026-11-01`, and the time zone of its days."""

from __future__ import annotations

import datetime as dt
import re
from typing import Final
from zoneinfo import ZoneInfo

_AGO: Final = re.compile(r"([0-9]{1,6})([mhdw])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
#: Backends hold nothing older, and their times begin there.
_FIRST: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
#: Later times have no date in every zone.
_LAST: Final = dt.datetime(9999, 12, 30, tzinfo=dt.UTC)


class CostQueryError(ValueError):
    """A parameter that cannot be used; the message names it and says what to use."""


def zone_of(name: str) -> dt.tzinfo:
    """The time zone of a name such as Europe/Berlin. Raises CostQueryError if this machine has none of it."""
    if name == "UTC":  # also where there is no database of zones
        return dt.UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise CostQueryError("zone: use the name of a time zone, such as Europe/Berlin or UTC") from None


def moment(name: str, given: str | dt.datetime, now: dt.datetime, zone: dt.tzinfo = dt.UTC) -> dt.datetime:
    """A time in UTC: a span of time before `now` (`90m`, `24h`, `7d`, `4w`), a date or a time (ISO 8601).

    Without a zone of its own it is in `zone`, a date is its beginning. Raises CostQueryError with the
    parameter's name.
    """
    try:
        found = _moment(given, now, zone)
    except (ValueError, OverflowError):
        raise CostQueryError(
            f"{name}: use a span of time before now, such as 24h or 7d, or a date, such as 2026-11-01"
        ) from None
    return min(max(found, _FIRST), _LAST)


def _moment(given: str | dt.datetime, now: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    if isinstance(given, str) and (ago := _AGO.fullmatch(given.strip())):
        return max(_FIRST, now - dt.timedelta(**{_UNITS[ago[2]]: int(ago[1])}))
    found = given if isinstance(given, dt.datetime) else dt.datetime.fromisoformat(given.strip())
    return found.replace(tzinfo=found.tzinfo or zone).astimezone(dt.UTC)
