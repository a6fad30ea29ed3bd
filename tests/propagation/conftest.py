"""Set trust rules for one test, then restore the defaults."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator

import pytest

from somatrace import propagation
from somatrace.config import Settings
from somatrace.testing import capture

KEY_A = "a:" + base64.b64encode(b"a" * 32).decode()
KEY_B = "b:" + base64.b64encode(b"b" * 32).decode()


@pytest.fixture
def rules() -> Iterator[Callable[..., None]]:
    """A function that applies the given settings."""

    def configure(**settings: object) -> None:
        propagation.configure(Settings(**settings))

    with capture():  # starts tracing, which sets the rules of the environment
        pass
    configure()
    yield configure
    configure()
