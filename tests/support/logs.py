"""Log records of a test."""

from __future__ import annotations

import logging

import pytest


def own_records(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """The records of this test, without those of asyncio.

    asyncio logs about tasks and loops that the collector finds, which an earlier test may have left.
    """
    return [record for record in caplog.records if record.name != "asyncio"]
