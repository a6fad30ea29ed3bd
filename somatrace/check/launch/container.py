"""The commands of a container: declared in an image, and replaced by what starts it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from somatrace.check.launch.around import LaunchContext, WrittenFile


@dataclass(frozen=True, slots=True)
class ContainerCommand:
    """An ENTRYPOINT or CMD, as a list of words or as shell text."""

    words: tuple[str, ...]
    shell: str
    line: int


@dataclass(frozen=True, slots=True)
class Override:
    """What a compose file, a pod or a platform replaces: context, stage, commands, directories, variables,
    and the arguments of the build.
    """

    origin: str = ""
    context: str | None = None
    target: str = ""
    command: ContainerCommand | None = None
    entrypoint: ContainerCommand | None = None
    workdir: str = ""
    mounts: tuple[tuple[str, str], ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    arguments: Mapping[str, str] = field(default_factory=dict)

    def applied(self, inside: LaunchContext) -> LaunchContext:
        """The image's context with these directories and variables."""
        path = self.variables.get("PYTHONPATH", "")
        return replace(
            inside,
            workdir=inside.in_image(self.workdir) if self.workdir else inside.workdir,
            mounts=(*self.mounts, *inside.mounts),
            variables={**inside.variables, **self.variables},
            pythonpath=(*(part for part in path.split(":") if part), *inside.pythonpath),
        )


@dataclass(frozen=True, slots=True)
class DeclaredCommand:
    """An ENTRYPOINT or CMD (or neither) and the file it comes from."""

    command: ContainerCommand | None
    path: str


@dataclass(slots=True)
class BuildStage:
    """One build stage, starting at a FROM."""

    name: str
    base: str
    workdir: str = "/"
    entrypoint: ContainerCommand | None = None
    command: ContainerCommand | None = None
    copies: list[tuple[str, str]] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    switches: list[tuple[str, str, int]] = field(default_factory=list)
    #: directories that exist because of WORKDIR and mkdir
    folders: frozenset[str] = frozenset()
    #: files whose content the Dockerfile itself contains, and files that its commands write
    written: Mapping[str, WrittenFile] = field(default_factory=dict)
    redirected: frozenset[str] = frozenset()


AS_BUILT: Final = Override()
