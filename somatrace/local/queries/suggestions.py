"""Suggestions for filter fields: recent names, read in constant time for any store size."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable
from typing import Final

from somatrace.local.store.time_buckets import GROUP, HOUR

MOST: Final = 50
#: longer names are not useful in a list
_LONGEST: Final = 100
#: rows read, newest first: hourly sums of one workflow, and traces
_GROUPS: Final = 2000
_TRACES: Final = 500


def read(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """At most `MOST` names for each name filter, in alphabetical order."""
    groups = connection.execute(
        "SELECT DISTINCT tenant, workflow FROM "
        "(SELECT tenant, workflow FROM figures WHERE step = ? AND scope = ? ORDER BY since DESC LIMIT ?)",
        (HOUR, GROUP, _GROUPS),
    ).fetchall()
    sets = connection.execute(
        "SELECT DISTINCT agents, models, services FROM "
        "(SELECT agents, models, services FROM traces ORDER BY start_ns DESC LIMIT ?)",
        (_TRACES,),
    ).fetchall()
    columns = {
        "tenant": [[tenant] for tenant, _ in groups],
        "workflow": [[workflow] for _, workflow in groups],
        "agent": [agents.split("\n") for agents, _, _ in sets],
        "model": [models.split("\n") for _, models, _ in sets],
        "service": [services.split("\n") for _, _, services in sets],
    }
    return {name: _distinct(itertools.chain.from_iterable(column)) for name, column in columns.items()}


def _distinct(names: Iterable[str]) -> list[str]:
    return sorted(itertools.islice(dict.fromkeys(filter(_can_be_chosen, names)), MOST))


def _can_be_chosen(name: str) -> bool:
    """Whether an input field keeps `name` unchanged, so that choosing it finds its traces."""
    return 0 < len(name) <= _LONGEST and name.isprintable() and name == name.strip()
