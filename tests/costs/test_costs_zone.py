"""Reports by the days of a time zone, also on days when the clocks change."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from somatrace.costs import cost_report
from somatrace.costs.period import CostQueryError, moment, zone_of
from tests.costs.test_cost_report import call, either, langfuse
from tests.costs.test_costs_command import costs, env

__all__ = ["costs", "either", "env", "langfuse"]

BERLIN = "Europe/Berlin"


def at(text: str) -> int:
    """Nanoseconds of a time in UTC."""
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp()) * 1_000_000_000


@pytest.fixture
def around_midnight(either, export):
    """Calls on the evenings around the end of summer time, 2026-10-25 in Berlin."""
    request = export()
    # 23:59 and 00:00 in summer time, 23:59 and 00:00 in winter time: the day between has 25 hours
    for time in ("2026-10-24 21:59", "2026-10-24 22:00", "2026-10-25 22:59", "2026-10-25 23:00"):
        request.span(start_ns=at(time), attributes=call("acme"))
    either.send(request)


@pytest.mark.usefixtures("around_midnight")
def test_days_are_those_of_the_zone():
    utc = cost_report(by="day", since="2026-10-01")
    berlin = cost_report(by="day", since="2026-10-01", zone=BERLIN)

    assert [(row.labels[0], row.calls) for row in utc.rows] == [("2026-10-24", 2), ("2026-10-25", 2)]
    assert [(row.labels[0], row.calls) for row in berlin.rows] == [
        ("2026-10-24", 1),
        ("2026-10-25", 2),
        ("2026-10-26", 1),
    ]


@pytest.mark.usefixtures("around_midnight")
def test_dates_are_those_of_the_zone():
    day = cost_report(since="2026-10-25", until="2026-10-26", zone=BERLIN)

    assert day.total.calls == 2
    assert day.until - day.since == dt.timedelta(hours=25)
    assert "from 2026-10-25 00:00 to 2026-10-26 00:00 Europe/Berlin, read from" in day.origin
    assert json.loads(day.as_json())["zone"] == BERLIN


def test_a_time_with_a_zone_of_its_own_keeps_it():
    now = dt.datetime(2026, 12, 1, tzinfo=dt.UTC)
    seven = dt.datetime(2026, 11, 1, 7, tzinfo=dt.UTC)

    assert moment("since", "2026-11-01T08:00+01:00", now, zone_of("Asia/Tokyo")) == seven
    assert moment("since", "2026-11-01T08:00", now, zone_of(BERLIN)) == seven


@pytest.mark.parametrize("zone", ["", "Berlin", "../UTC", "/etc/localtime", "Europe", "a\0b", "x" * 5000])
def test_an_unknown_zone_is_named(zone):
    with pytest.raises(CostQueryError, match=r"^zone: use the name of a time zone"):
        cost_report(zone=zone)


def test_the_command_takes_a_zone(costs, env):
    done, unknown = costs("--zone", BERLIN, **env), costs("--zone", "Berlin", **env)

    assert f" {BERLIN}, read from langfuse" in done.stdout
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert unknown.stderr == (
        "somatrace: --zone: use the name of a time zone, such as Europe/Berlin or UTC\n"
    )
