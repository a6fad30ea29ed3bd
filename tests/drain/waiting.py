"""Spans that wait on disk, and the command that sends them, for tests."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from somatrace.config import Target
from somatrace.delivery.factory import owner_of
from somatrace.delivery.journal import Journal
from somatrace.delivery.journal_directory import directory_of
from tests.delivery.support import batch
from tests.support.otlp_server import OtlpServer, Reply

COMMAND = [sys.executable, "-m", "somatrace", "drain"]
UNAVAILABLE = Reply(503)

Run = Callable[..., subprocess.CompletedProcess[str]]


def leave(data: Path, url: str, *names: str, service: str = "orders") -> Path:
    """Leave a batch for each name, as a process that has ended; return the path of the last segment."""
    owner = owner_of(service, Target("otlp", f"{url}/v1/traces"))
    directory = directory_of(data, owner) / "spool"
    journal = Journal(lambda: data, owner, max_bytes=1 << 26, max_days=7.0)
    for name in names:
        assert journal.add(batch(name), 1) is not None, journal.problem
    journal.close()
    return max(directory.glob("*.segment"))


def counted(server: OtlpServer) -> Counter[str]:
    return Counter(span.name for span in server.spans)


def tree(directory: Path) -> dict[str, bytes | None]:
    """Every file and directory, with the content of files."""
    return {
        str(path.relative_to(directory)): None if path.is_dir() else path.read_bytes()
        for path in sorted(directory.rglob("*"))
    }
