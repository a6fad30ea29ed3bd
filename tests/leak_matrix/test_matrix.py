"""The leak matrix: real clients against real servers, canaries in every field, tenants of every policy.

What left the process is searched as raw bytes at the receivers' sockets, on disk, in the log at DEBUG, in the
records of listeners, in `status()`, and in what foreign span processors and exporters could read.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.leak_matrix.rows import CLIENTS
from tests.leak_matrix.support import Run, run
from tests.leak_matrix.useful import compared

pytestmark = pytest.mark.slow


def check(done: Run) -> None:
    """Nothing was lost on the way, and everybody who could look did."""
    assert done.report["faults"] == 0
    assert done.report["records"] > 0
    assert done.report["unseen"] == []
    assert done.canaries


@pytest.mark.parametrize("client", CLIENTS)
def test_what_a_tenants_policy_allows_leaves_and_nothing_else(client: str, tmp_path: Path) -> None:
    done = run(client, tmp_path, "after")
    needed, changed = compared(done.recorded)

    check(done)
    assert len(done.spans) == done.report["delivered"] > 0
    assert [str(leak) for leak in done.leaks()] == []
    assert done.missing("redacted") == []
    assert done.missing("full") == []
    assert needed > 20
    assert len(changed) <= needed * 0.01, changed  # models, usage, ids, routes, errors: without content, too


@pytest.mark.parametrize("client", CLIENTS)
def test_processors_that_were_there_before_see_no_more(client: str, tmp_path: Path) -> None:
    done = run(client, tmp_path, "before")

    check(done)
    assert done.spans
    assert [str(leak) for leak in done.leaks()] == []
    assert done.missing("redacted") == []
    assert done.missing("full") == []


@pytest.mark.parametrize("client", CLIENTS)
def test_never_lets_nothing_of_any_tenant_out(client: str, tmp_path: Path) -> None:
    done = run(client, tmp_path, "after", SOMATRACE_CONTENT="never")

    check(done)
    assert done.spans
    assert [str(leak) for leak in done.leaks(closed=True)] == []


@pytest.mark.parametrize("client", ["own", "openai"])
def test_the_local_store_holds_only_what_the_policy_allows(client: str, tmp_path: Path) -> None:
    done = run(client, tmp_path, "after", OTEL_EXPORTER_OTLP_ENDPOINT="")

    check(done)
    assert [str(leak) for leak in done.leaks()] == []
    assert set(done.missing("full", place="disk: local.db")) <= {"link of events_links_and_status"}


def test_the_search_finds_what_is_allowed_in_each_place_it_looks_at(tmp_path: Path) -> None:
    done = run("own", tmp_path, "after")

    for place in ("socket", "foreign.txt", "records.txt"):
        assert "input of words" not in done.missing("full", place=place), place
