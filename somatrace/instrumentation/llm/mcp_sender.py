"""The stream of the messages that an MCP client sends, loaded with the first one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wrapt import ObjectProxy


class Sender(ObjectProxy):  # type: ignore[type-arg]
    """A stream that calls `prepare` with each message before it is sent."""

    def __init__(self, stream: Any, prepare: Callable[[Any], object]) -> None:
        super().__init__(stream)
        self._self_prepare = prepare

    async def __aenter__(self) -> Any:
        await self.__wrapped__.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> Any:
        return await self.__wrapped__.__aexit__(*error)

    async def send(self, item: Any) -> Any:
        self._self_prepare(item)
        return await self.__wrapped__.send(item)
