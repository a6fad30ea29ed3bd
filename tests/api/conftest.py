"""Fixtures for tests of the public API."""

from __future__ import annotations

import pytest

from somatrace.runtime import misuse


@pytest.fixture
def no_misuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start as a fresh process does: no wrong call has been noted."""
    monkeypatch.setattr(misuse, "_lines", {})
