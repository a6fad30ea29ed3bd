"""The commands of a container: declared in an image, and replaced by what starts it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ContainerCommand:
    """An ENTRYPOINT or CMD, as a list of words or as shell text."""

    words: tuple[str, ...]
    shell: str
    line: int


@dataclass(frozen=True, slots=True)
class Override:
    """Overrides from a compose file or a pod: context, stage, command and entrypoint."""

    origin: str = ""
    context: str | None = None
    target: str = ""
    command: ContainerCommand | None = None
    entrypoint: ContainerCommand | None = None


@dataclass(frozen=True, slots=True)
class DeclaredCommand:
    """An ENTRYPOINT or CMD (or neither) and the file it comes from."""

    command: ContainerCommand | None
    path: str


AS_BUILT: Final = Override()
