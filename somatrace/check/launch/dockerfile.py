"""Dockerfiles: ENTRYPOINT and CMD of the final stage, and the targets of COPY."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from posixpath import basename, join, normpath

from somatrace.check.launch import (
    commands,
    image_files,
    instructions,
    servers,
    service_folders,
    words,
)
from somatrace.check.launch.around import Launch, LaunchContext, LaunchOrigin
from somatrace.check.launch.container import AS_BUILT, BuildStage, ContainerCommand, DeclaredCommand, Override
from somatrace.check.launch.copies import contexts_of, copied, mounts
from somatrace.check.launch.instructions import HereDocument, Instruction
from somatrace.check.launch.lambdas import BASE_FOLDER, BASE_VARIABLES, ENTRYPOINT, handled, is_lambda
from somatrace.check.launch.presence import is_followed

_OPTIONS = re.compile(r"(?:--\S+\s+)+")
_FROM = re.compile(r"--from=(\S+)")
_PAIR = re.compile(r"(?<!\w)(\w+)=(\"[^\"]*\"|'[^']*'|\S*)")
_ARGUMENT = re.compile(r"(?<!\S)(\w+)(?:=(?:\"[^\"]*\"|'[^']*'|\S*))?")
_NAME = re.compile(r"(?:docker|container)file(?:[._-].+)?|.+[._-](?:docker|container)file", re.IGNORECASE)
#: Documents and code about Dockerfiles.
_NO_DOCKERFILES = (".md", ".rst", ".txt", ".py", ".pyc", ".js", ".ts", ".go", ".rs", ".java", ".sh", ".json")
_SERVING_BASE = re.compile(r"tiangolo/(?:uvicorn-gunicorn|meinheld-gunicorn|uwsgi-nginx)")
_MOST_PARENTS = 20
#: Each stage copies the variables and copies of its parent.
_MOST_STAGES = 300
#: Stages that copy each other's copies multiply them.
_MOST_COPIES = 1_000


def is_dockerfile(path: str) -> bool:
    """Whether the path has a Dockerfile's name."""
    name = basename(path)
    if name.endswith(_NO_DOCKERFILES) and not name.startswith(("Dockerfile.", "Containerfile.")):
        return False
    return _NAME.fullmatch(name) is not None and not name.endswith(".dockerignore")


def stages(text: str, arguments: Mapping[str, str] = AS_BUILT.arguments) -> list[BuildStage]:
    """All stages, each with the instructions it inherits from an earlier one, built with the arguments."""
    found: list[BuildStage] = []
    variables: dict[str, str] = {}
    for written in instructions.read(text).found:
        read = _with_arguments(written, arguments) if written.name == "ARG" and arguments else written
        instruction, rest = read.name, read.rest
        if instruction == "FROM":
            if len(found) > _MOST_STAGES:
                break
            found.append(_from(rest, found, variables))
        elif instruction == "ARG" and not found:
            variables |= {name: words.unquoted(value, variables) for name, value in _PAIR.findall(rest)}
        elif found:
            _apply(found, read, variables)
    return found


def _with_arguments(read: Instruction, arguments: Mapping[str, str]) -> Instruction:
    """An ARG with the values that the build is given."""

    def given(match: re.Match[str]) -> str:
        return f'{match[1]}="{arguments[match[1]]}"' if match[1] in arguments else match[0]

    return read._replace(rest=_ARGUMENT.sub(given, read.rest))


def _from(rest: str, earlier: list[BuildStage], variables: dict[str, str]) -> BuildStage:
    parts = [words.unquoted(part, variables) for part in rest.split() if not part.startswith("--")]
    base = parts[0] if parts else ""
    name = parts[2] if len(parts) > 2 and parts[1].lower() == "as" else str(len(earlier))
    parent = _named(base, earlier)
    if parent is None:
        return (
            BuildStage(name, base, BASE_FOLDER, variables={**BASE_VARIABLES})
            if is_lambda(base)
            else BuildStage(name, base)
        )
    return replace(
        parent,
        name=name,
        base=parent.base,
        copies=[*parent.copies],
        variables={**parent.variables},
        switches=[*parent.switches],
    )


def _apply(found: list[BuildStage], read: Instruction, arguments: Mapping[str, str]) -> None:
    stage = found[-1]
    line, instruction, rest, documents = read
    if instruction == "WORKDIR":
        stage.workdir = normpath(join(stage.workdir, words.unquoted(rest, stage.variables)))
        stage.folders |= {stage.workdir}
    elif instruction in {"ENV", "ARG"}:
        _environment(stage, rest, line, arguments if instruction == "ARG" else None)
    elif instruction in {"COPY", "ADD"}:
        _copy(stage, rest, documents, found[:-1])
    elif instruction == "RUN":
        stage.folders |= image_files.made(stage, rest)
        image_files.write(stage, read)
    elif instruction == "ENTRYPOINT":
        stage.entrypoint, stage.command = _container_command(rest, line), None
    elif instruction == "CMD":
        stage.command = _container_command(rest, line)


def _environment(stage: BuildStage, rest: str, line: int, arguments: Mapping[str, str] | None) -> None:
    """Set the variables of an ENV, or of an ARG, whose default the `arguments` before all stages may hold."""
    name, _, value = rest.partition(" ")
    single = [(name, value if arguments is None else arguments.get(name, ""))]
    for name, value in _PAIR.findall(rest) or single:
        stage.variables[name] = words.unquoted(value.strip(), stage.variables)
        if arguments is None:
            stage.switches.append((name, stage.variables[name], line))


def _copy(
    stage: BuildStage, rest: str, documents: tuple[HereDocument, ...], earlier: list[BuildStage]
) -> None:
    options = _OPTIONS.match(rest)
    given = rest[options.end() :] if options is not None else rest
    try:
        parts = [str(part) for part in json.loads(given)] if given.startswith("[") else given.split()
    except (ValueError, RecursionError):
        return
    parts = [words.unquoted(part, stage.variables) for part in parts]
    if len(parts) < 2:
        return
    target = normpath(join(stage.workdir, parts[-1]))
    if any(part.startswith("<<") for part in parts):
        names = [re.sub(r"\W", "", part) for part in parts[:-1]]
        into_folder = parts[-1].endswith("/")
        image_files.hold(
            stage, [join(target, name) for name in names] if into_folder else [target], documents
        )
        return
    into = parts[-1].endswith(("/", ".")) or len(parts) > 2
    target = f"{target.rstrip('/')}/" if into else target
    named = _FROM.search(options[0]) if options is not None else None
    if named is None:
        # BuildKit keeps a source such as `../x` inside the context
        stage.copies.extend((normpath(f"/{source}")[1:] or ".", target) for source in parts[:-1])
        return
    origin = _named(words.unquoted(named[1], stage.variables), earlier)
    if origin is not None:
        taken = [one for source in parts[:-1] for one in copied(origin, source, target)]
        stage.copies = [*dict.fromkeys([*stage.copies, *taken])][:_MOST_COPIES]


def _named(name: str, earlier: list[BuildStage]) -> BuildStage | None:
    """The earlier stage of that name or number; None for an image."""
    if name.isdecimal() and len(name) < 4:
        return earlier[int(name)] if int(name) < len(earlier) else None
    return next((one for one in reversed(earlier) if one.name.lower() == name.lower()), None)


def _container_command(rest: str, line: int) -> ContainerCommand:
    if rest.startswith("["):
        try:
            listed = json.loads(re.sub(r"(?<!\s)\s+#.*$", "", rest))
        except (ValueError, RecursionError):
            listed = None
        if isinstance(listed, list):
            return ContainerCommand(tuple(word for word in listed if isinstance(word, str)), "", line)
    return ContainerCommand((), rest, line)


def launches(path: str, around: LaunchContext, override: Override = AS_BUILT) -> list[Launch]:
    """The processes of a container of this image. `around` holds the tree and its projects' shared paths."""
    text = around.tree.text(path) or ""
    read = instructions.read(text)
    if read.problem:
        reason = f"it cannot be followed: {read.problem}"
        return [servers.undecidable(LaunchOrigin(path, read.line, ""), path, reason)]
    found = stages(text, override.arguments)
    if not found:
        return []
    if len(found) > _MOST_STAGES:
        return [
            servers.undecidable(LaunchOrigin(path, 1, ""), path, f"it has more than {_MOST_STAGES} stages")
        ]
    stage = next((one for one in found if one.name == override.target), found[-1])
    contexts = contexts_of(path, stage, around.tree) if override.context is None else [override.context]
    given = (_launched(path, stage, context, around, override) for context in contexts)
    first = next(given)
    return next((one for one in [first, *given] if is_followed(one, around.tree)), first)


def _served_by_base(path: str, inside: LaunchContext) -> list[Launch]:
    """What an image starts by itself whose base serves `/app/app/main.py` or `/app/main.py`
    (https://github.com/tiangolo/uvicorn-gunicorn-docker#module_name).
    """
    name = "app.main" if inside.file("/app/app/main.py") else "main"
    if inside.file("/app/main.py") is None and name == "main":
        return []
    words = ("gunicorn", f"{name}:app")
    command = ContainerCommand(words, "", 1)
    return started(
        DeclaredCommand(None, path), DeclaredCommand(command, path), replace(inside, workdir="/app")
    )


def _launched(
    path: str, stage: BuildStage, context: str, around: LaunchContext, override: Override
) -> list[Launch]:
    """The processes of a container of an image that is built in a context."""
    inside = override.applied(surroundings(stage, around, context))
    held = {name: replace(file, path=path) for name, file in stage.written.items()}
    inside = replace(inside, written=held)
    first = (
        DeclaredCommand(override.entrypoint, override.origin)
        if override.entrypoint
        else DeclaredCommand(stage.entrypoint, path)
    )
    inherited = DeclaredCommand(stage.command if override.entrypoint is None else None, path)
    last = DeclaredCommand(override.command, override.origin) if override.command else inherited
    for declared in (first, last):
        written = image_files.unread(declared.command, stage, inside)
        if written and declared.command is not None:
            origin = LaunchOrigin(declared.path, declared.command.line, written)
            reason = f"`{written}` is written by the Dockerfile itself, and such files are not followed"
            return [servers.undecidable(origin, written, reason)]
    if is_lambda(stage.base) and (first.command is None or first.command.words == (ENTRYPOINT,)):
        return handled(last, inside)
    if first.command is None and last.command is None and _SERVING_BASE.match(stage.base):
        return _served_by_base(path, inside)
    return [*started(first, last, inside), *_supervised(inside)]


def _supervised(inside: LaunchContext) -> list[Launch]:
    """The services that the image's init keeps running, beside its command."""
    found: list[Launch] = []
    for script in service_folders.scripts(inside):
        place = inside.file(script) or inside.written[script].path
        found += commands.launches((script,), inside, LaunchOrigin(place, 1, script))
    return found


def surroundings(stage: BuildStage, around: LaunchContext, context: str) -> LaunchContext:
    """The image's directories and environment variables."""
    placed = mounts(stage, around.tree, context) or ((stage.workdir, context),)
    path = stage.variables.get("PYTHONPATH", "")
    extra = tuple(part for part in path.split(":") if part and "$" not in part)
    return replace(around, workdir=stage.workdir, mounts=placed, variables=stage.variables, pythonpath=extra)


def started(first: DeclaredCommand, last: DeclaredCommand, around: LaunchContext) -> list[Launch]:
    """Combine ENTRYPOINT and CMD; an ENTRYPOINT in shell form ignores CMD."""
    head, tail = first.command, last.command
    if head is None:
        head, tail, first = tail, None, last
    if head is None:
        return []
    if re.match(r"\[\s*[\"']", head.shell):
        origin = LaunchOrigin(first.path, head.line, head.shell)
        return [servers.undecidable(origin, first.path, "its command is neither JSON nor shell text")]
    if head.shell:
        return commands.text(head.shell, around, LaunchOrigin(first.path, head.line, head.shell))
    argv = head.words
    origin = LaunchOrigin(first.path, head.line, " ".join(argv))
    if tail is not None:
        argv = (*argv, *(tail.words or ("sh", "-c", tail.shell)))
        origin = LaunchOrigin(last.path, tail.line, " ".join(argv))
    return commands.launches(tuple(words.expand(word, around.variables) for word in argv), around, origin)
