"""Find the Python process a command starts, past wrapper commands and through servers and workers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from posixpath import basename, dirname

from somatrace.check.launch import (
    inline_code,
    management,
    own_folder,
    programs,
    servers,
    sourced,
    starters,
    staying,
    steps,
    supervised,
    tasks,
    uwsgi,
    words,
)
from somatrace.check.launch.around import Launch, LaunchContext, LaunchOrigin
from somatrace.check.launch.servers import ServerOptions, undecidable
from somatrace.check.launch.wrappers import bare, surroundings
from somatrace.check.run.process import ProcessStart

_OTHER_USERS = frozenset(["su", "runuser"])
_PYTHON_VALUES = {"-W", "-X", "--check-hash-based-pycs"}
_ONE_OFF_MODULES = frozenset([
    "pip", "venv", "ensurepip", "compileall", "pytest", "unittest", "alembic", "black", "ruff",
    "mypy", "build", "http.server", "spacy", "nltk.downloader", "playwright", "json.tool",
    "debugpy", "site", "coverage", "aerich", "awslambdaric",
])  # fmt: skip
_MOST_DEPTH = 8
#: Scripts that start one another multiply with every level.
_MOST_SCRIPTS = 50


def launches(
    argv: tuple[str, ...], around: LaunchContext, origin: LaunchOrigin, *, depth: int = 0
) -> list[Launch]:
    """The Python processes a command starts; none for non-Python programs and one-off tools."""
    around, given = surroundings(argv, around), argv
    argv = bare(given)
    task = tasks.named(given, argv, around)
    if not argv or depth > _MOST_DEPTH:
        return []
    if task is not None:
        return _task(task, around, depth)
    program = basename(argv[0])
    if program in words.SHELLS:
        return _shell(argv, around, origin, depth)
    if program in _OTHER_USERS:
        place = argv.index("-c") + 1 if "-c" in argv else len(argv)
        return text(argv[place], around, origin, depth=depth + 1) if place < len(argv) else []
    if program in {".", "source"} and len(argv) > 1:
        if around.file(argv[1]) is None and sourced.SETS_VARIABLES.search(argv[1]):
            return []
        return _script(argv[1], argv[2:], around, origin, depth)
    if staying.PYTHON.match(program):
        return _python(argv, around, origin, depth)
    if program == "supervisord":
        return _supervisord(argv, around, origin, depth)
    known = programs.PROGRAMS.get(program)
    if known is None:
        return _unknown(argv, given, around, origin, depth)
    options = ServerOptions.of(argv[1:])
    found = known(options, around, origin)
    return [*found, *_attached(options, around, origin, depth)] if program == "uwsgi" else found


def _task(task: tasks.Task, around: LaunchContext, depth: int) -> list[Launch]:
    """The processes of a project's task."""
    around = around.counting(_MOST_SCRIPTS)
    if not around.has_scripts_left():
        return []
    inside = replace(
        around, workdir=around.in_image(task.folder), variables={**around.variables, **task.variables}
    )
    origin = LaunchOrigin(task.path, task.line, task.function or task.text)
    if task.function:
        return [servers.console(task.function, inside, origin)]
    return text(task.text, inside, origin, depth=depth + 1)


def _attached(
    options: ServerOptions, around: LaunchContext, origin: LaunchOrigin, depth: int
) -> Iterator[Launch]:
    """The programs that uWSGI starts beside the application."""
    around = around.counting(_MOST_SCRIPTS)
    if around.has_scripts_left():
        for one in uwsgi.attached(options, around, origin):
            yield from text(one.command, one.around, one.origin, depth=depth + 1)


def text(
    command: str,
    around: LaunchContext,
    origin: LaunchOrigin,
    *,
    positional: tuple[str, ...] = (),
    depth: int = 0,
) -> list[Launch]:
    """The processes of a shell script: its last command, background commands, and servers."""
    found: list[Launch] = []
    around = around.counting(_MOST_SCRIPTS)
    command = sourced.inlined(command, around)
    try:
        commands = steps.split(command, around.variables, positional)
    except words.UnsplittableError as error:
        where = replace(origin, line=origin.line + error.line - 1) if origin.line else origin
        return [undecidable(where, origin.path, f"its shell text cannot be followed: {error.reason}")]
    foreground: list[Launch] = []
    for step in commands:
        argv = bare(step.words)
        if not argv:
            continue
        if argv[0] == "cd" and len(argv) > 1:
            around = replace(around, workdir=around.in_image(argv[1]))
            continue
        if argv[0] == "export":
            around = surroundings(argv[1:], around)
            continue
        here = (
            replace(origin, line=origin.line + step.line - 1) if origin.line and "\n" in command else origin
        )
        if staying.stays(step, argv, around):
            found.extend(launches(step.words, around, here, depth=depth + 1))
        elif staying.may_stay(step.words, argv, around):
            foreground = launches(step.words, around, here, depth=depth + 1) or foreground
    if not found and not staying.replaces(commands):
        return foreground
    return found


def _shell(argv: tuple[str, ...], around: LaunchContext, origin: LaunchOrigin, depth: int) -> list[Launch]:
    for number, word in enumerate(argv[1:], 1):
        if word.startswith("-") and word.endswith("c") and not word.startswith("--"):
            return text(argv[number + 1], around, origin, depth=depth + 1) if number + 1 < len(argv) else []
        if not word.startswith(("-", "+")):
            return _script(word, argv[number + 1 :], around, origin, depth)
    return []


def _script(
    path: str, arguments: tuple[str, ...], around: LaunchContext, origin: LaunchOrigin, depth: int
) -> list[Launch]:
    """Follow a shell script; its lines become the origin."""
    written = around.written.get(around.in_image(path))
    found = around.file(path) if written is None else written.path
    if found is None:
        return _absent(path, arguments, around, origin, depth)
    content = around.tree.text(found) or "" if written is None else written.text
    if written is not None and content.startswith("#!") and "python" in content.partition("\n")[0]:
        return [undecidable(origin, path, f"`{path}` is Python that the Dockerfile itself contains")]
    if content.startswith("#!") and "python" in content.partition("\n")[0]:
        return _file(path, arguments, around, origin)
    if depth > _MOST_DEPTH:
        return []
    around = around.counting(_MOST_SCRIPTS)
    if not around.has_scripts_left():
        return [undecidable(origin, path, f"more than {_MOST_SCRIPTS} scripts start one another")]
    content = own_folder.resolved(content, dirname(around.in_image(path)))
    start = LaunchOrigin(found, 1 if written is None else written.line, origin.text)
    return text(content, around, start, positional=arguments, depth=depth + 1)


def _absent(
    path: str, arguments: tuple[str, ...], around: LaunchContext, origin: LaunchOrigin, depth: int
) -> list[Launch]:
    """A script that is not in the tree. One of the base image runs the command that it is given, if any."""
    foreign = path.startswith("/") or "/" not in path
    command = arguments[arguments.index("--") + 1 :] if "--" in arguments else arguments
    given = launches(command, around, origin, depth=depth + 1) if foreign else []
    if given:
        return given
    if foreign and not around.holds_python():
        return []
    return [undecidable(origin, path, f"the script `{path}` is not in the tree")]


def _supervisord(
    argv: tuple[str, ...], around: LaunchContext, origin: LaunchOrigin, depth: int
) -> list[Launch]:
    """The programs of the configurations in the image; another one in the tree is a launcher itself."""
    options = ServerOptions.of(argv[1:])
    named = options.get("-c", "--configuration") or "supervisord.conf"
    around = around.counting(_MOST_SCRIPTS)
    given = supervised.in_image(around, named) if around.has_scripts_left() else []
    found: list[Launch] = []
    for file in given:
        for program in supervised.programs(file.text, file.line):
            inside = replace(around, workdir=around.in_image(program.folder))
            where = LaunchOrigin(file.path, program.line, program.command)
            found += text(program.command, inside, where, depth=depth + 1)
    if given or not around.holds_python() or supervised.in_tree(around.tree):
        return found
    return [undecidable(origin, named, f"the configuration `{named}` is not in the tree")]


def _python(argv: tuple[str, ...], around: LaunchContext, origin: LaunchOrigin, depth: int) -> list[Launch]:
    rest = list(argv[1:])
    while rest and rest[0].startswith("-") and rest[0] not in {"-m", "-c", "-"}:
        option = rest.pop(0)
        if (
            option.startswith("-")
            and option[-1:] in {"m", "c"}
            and not option.startswith("--")
            and option not in _PYTHON_VALUES
        ):
            rest.insert(0, f"-{option[-1]}")
            break
        if option in _PYTHON_VALUES and rest:
            rest.pop(0)
    if not rest:
        return []
    if rest[0] == "-c" and inline_code.is_tool("".join(rest[1:2]), around):
        return []
    if rest[0] in {"-c", "-"}:
        return [undecidable(origin, "python -c", "code given on the command line is not followed")]
    if rest[0] == "-m":
        return _module(tuple(rest[1:]), around, origin, depth)
    return _file(rest[0], tuple(rest[1:]), around, origin)


def _module(rest: tuple[str, ...], around: LaunchContext, origin: LaunchOrigin, depth: int) -> list[Launch]:
    if not rest:
        return []
    name = rest[0]
    if name in programs.PROGRAMS or name in programs.MODULES:
        program = programs.MODULES.get(name, name)
        return launches((program, *rest[1:]), around, origin, depth=depth + 1)
    if name in _ONE_OFF_MODULES or name.partition(".")[0] in _ONE_OFF_MODULES:
        return []
    start = ProcessStart("module", name, attribute="", role="script", roots=around.roots("."))
    return [servers.checked(Launch(origin, start, target=name))]


def _file(path: str, rest: tuple[str, ...], around: LaunchContext, origin: LaunchOrigin) -> list[Launch]:
    managed = basename(path) == "manage.py"
    if managed and management.is_one_off(path, rest, around):
        return []
    if "$" in path:
        return [undecidable(origin, path, f"`{path}` is known only at run time")]
    found = around.file(path) or around.file(f"{path}/__main__.py")
    if found is None:
        return [undecidable(origin, path, f"`{path}` is not in the tree")]
    command = management.line_of(rest) if managed else ""
    return servers.script(found, around, origin, command=command)


def _unknown(
    argv: tuple[str, ...], given: tuple[str, ...], around: LaunchContext, origin: LaunchOrigin, depth: int
) -> list[Launch]:
    """A script in the tree, a console script of one of its projects, or an unrelated program."""
    program = argv[0]
    if "$" in program:
        return [undecidable(origin, program, f"`{program}` is known only at run time")]
    on_path = around.on_path(program)
    if program.endswith(".py") or ("/" in program and around.file(f"{program}/__main__.py")):
        return _file(on_path or program, argv[1:], around, origin)
    if program.endswith(".sh") or on_path or ("/" in program and around.file(program)):
        return _script(on_path or program, argv[1:], around, origin, depth)
    console = around.scripts.get(basename(program))
    if console is not None:
        return [servers.console(console, around, origin)]
    if tasks.is_missing(given, argv, around) and around.holds_python():
        return [
            undecidable(origin, program, f"no file of the tree has the task that `{' '.join(given)}` runs")
        ]
    if inner := starters.wrapped(argv):
        return launches(inner, around, origin, depth=depth + 1)
    suspect = program in programs.SUSPECTS and any(_names_code(word) for word in argv[1:])
    if suspect or starters.starts_unknown_code(argv, around):
        return [undecidable(origin, program, f"it is unknown how `{program}` starts Python code")]
    return []


def _names_code(word: str) -> bool:
    return word.endswith(".py") or re.fullmatch(r"[\w.]+:[\w.]+(\(\))?", word) is not None
