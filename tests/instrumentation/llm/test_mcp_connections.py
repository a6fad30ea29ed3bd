"""Connections of MCP raise under tracing what they raise without it."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

import anyio
import pytest

from somatrace.testing import capture

pytest.importorskip("mcp", reason="mcp is not installed in this environment")

from mcp.client import stdio
from mcp.types import JSONRPCMessage, JSONRPCNotification

from tests.support.logs import own_records

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

#: A child that reads and never answers.
SILENT = stdio.StdioServerParameters(command=sys.executable, args=["-c", "import sys; sys.stdin.read()"])


class OwnError(Exception):
    """The program's."""


def raised(body: Any) -> BaseException:
    """What a connection raises, out of the groups around it."""

    async def main() -> None:
        async with stdio.stdio_client(SILENT) as (reader, writer):
            await body(reader, writer)

    with capture(timeout=60), pytest.raises(BaseException) as caught:  # noqa: PT011
        asyncio.run(main())
    error = caught.value
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    return error


@pytest.mark.parametrize("own", [OwnError("own"), ValueError("own")], ids=["own", "of Python"])
def test_an_exception_in_the_block_of_a_transport_is_the_programs(
    own: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(*_: object) -> None:
        raise own

    with caplog.at_level(logging.WARNING):
        assert raised(body) is own
    assert [record.getMessage() for record in own_records(caplog)] == []


def test_a_message_into_a_closed_connection_raises() -> None:
    async def body(_: object, writer: Any) -> None:
        await writer.aclose()
        await writer.send(JSONRPCMessage(JSONRPCNotification(jsonrpc="2.0", method="ping")))

    assert type(raised(body)) is anyio.ClosedResourceError
