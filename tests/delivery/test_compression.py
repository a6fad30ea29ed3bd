"""Bodies are compressed by whichever compressor is installed, and any server can read them."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from somatrace.delivery.compression import compressed, compressor


@pytest.fixture(params=["isal", "zlib"])
def module(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The compressor where isal is installed, and where it is not."""
    if request.param == "isal":
        pytest.importorskip("isal", reason="isal is not installed in this environment")
    else:
        monkeypatch.setitem(sys.modules, "isal", None)
    compressor.cache_clear()
    yield compressor()
    compressor.cache_clear()


@pytest.mark.parametrize(("encoding", "windows"), [("gzip", 31), ("deflate", 15)])
def test_a_compressed_body_is_read_by_zlib(module: ModuleType, encoding: str, windows: int) -> None:
    body = b"span" * 1000

    sent = compressed(body, encoding)  # type: ignore[arg-type]

    assert module.__name__.endswith("zlib")
    assert zlib.decompress(sent, windows) == body
    assert len(sent) < len(body) / 10


@given(st.binary())
def test_any_body_survives(body: bytes) -> None:
    assert zlib.decompress(compressed(body, "gzip"), 31) == body
    assert compressed(body, "none") == body


def test_isal_is_used_where_it_is_installed() -> None:
    isal = pytest.importorskip("isal.isal_zlib", reason="isal is not installed in this environment")
    compressor.cache_clear()

    assert compressor() is isal
