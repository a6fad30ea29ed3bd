"""The leak matrix: real clients against real servers, canaries in every field, tenants of every policy.

The search covers raw bytes at the receivers' sockets, files on disk, the log at DEBUG, the records of
listeners, `status()`, and everything readable by third-party span processors and exporters.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.leak_matrix.rows import CLIENTS
from tests.leak_matrix.support import Run, run
from tests.leak_matrix.useful import compared

pytestmark = pytest.mark.slow


def check(done: Run) -> None:
    """Check that nothing was lost and that every consumer received spans."""
    assert done.report["faults"] == 0
    assert done.report["records"] > 0
    assert done.report["unseen"] == []
    assert done.canaries


@pytest.mark.parametrize("client", CLIENTS)
def test_only_content_allowed_by_the_tenants_policy_leaves(client: str, tmp_path: Path) -> None:
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
def test_processors_added_earlier_see_no_more(client: str, tmp_path: Path) -> None:
    done = run(client, tmp_path, "before")

    check(done)
    assert done.spans
    assert [str(leak) for leak in done.leaks()] == []
    assert done.missing("redacted") == []
    assert done.missing("full") == []


@pytest.mark.parametrize("client", CLIENTS)
def test_never_blocks_every_tenants_content(client: str, tmp_path: Path) -> None:
    done = run(client, tmp_path, "after", SOMATRACE_CONTENT="never")

    check(done)
    assert done.spans
    assert [str(leak) for leak in done.leaks(closed=True)] == []


@pytest.mark.parametrize("client", ["own", "openai"])
def test_the_local_store_holds_only_what_the_policy_allows(client: str, tmp_path: Path) -> None:
    done = run(client, tmp_path, "after", OTEL_EXPORTER_OTLP_ENDPOINT="")

    check(done)
    assert [str(leak) for leak in done.leaks()] == []
    assert done.missing("full", place="disk: segments") == []
    assert set(done.missing("full", place="disk: local.db")) <= {"link of events_links_and_status"}


def test_the_search_finds_allowed_content_in_every_output(tmp_path: Path) -> None:
    done = run("own", tmp_path, "after")

    for place in ("socket", "third_party.txt", "records.txt"):
        assert "input of words" not in done.missing("full", place=place), place
