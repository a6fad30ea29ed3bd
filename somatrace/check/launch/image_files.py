"""Files of an image whose content its Dockerfile holds: here-documents, `echo` and `printf` of a RUN."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from posixpath import join, normpath

from somatrace.check.launch import words
from somatrace.check.launch.around import LaunchContext, WrittenFile
from somatrace.check.launch.container import BuildStage, ContainerCommand
from somatrace.check.launch.instructions import HereDocument, Instruction

#: Files that a RUN writes: by redirection or `tee`.
_WRITTEN = re.compile(r"(?:>|\btee(?:\s+-a)?)\s*([\w./-]*/[\w.-]+|(?<=[>\s])[\w-]+\.(?:sh|bash|py))")
_MKDIR = re.compile(r"\bmkdir\s+([^&|;]+)")
_ESCAPE = re.compile(r"\\([ntr\\])")
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\"}
_FORMAT = re.compile(r"%([%sb])")
_MOST_ARGUMENTS = 500
_LONGEST = 50_000


def made(stage: BuildStage, rest: str) -> frozenset[str]:
    """The directories that a RUN makes."""
    named = [word for made in _MKDIR.findall(words.expand(rest, stage.variables)) for word in made.split()]
    return _in_image(stage, [word.strip("\"'") for word in named if not word.startswith("-")])


def write(stage: BuildStage, read: Instruction) -> None:
    """Note the files that a RUN writes, with the content of those that it holds."""
    paths = _WRITTEN.findall(read.rest)
    stage.redirected |= _in_image(stage, paths)
    if read.documents and len(paths) == len(read.documents):
        hold(stage, paths, read.documents)
    if paths and not read.documents and len(read.rest) <= _LONGEST:
        held = dict(stage.written)
        for path, text, appends in _printed(read.rest, stage):
            place = normpath(join(stage.workdir, path))
            before = held[place].text if appends and place in held else ""
            if not appends or place in held or place not in stage.written:
                held[place] = WrittenFile(before + text, "", read.line)
                stage.redirected |= {place}
        stage.written = held


def hold(stage: BuildStage, paths: Sequence[str], documents: tuple[HereDocument, ...]) -> None:
    """Note the files that here-documents write."""
    held = dict(stage.written)
    for path, document in zip(paths, documents, strict=False):
        text = document.text if document.quoted else words.expand(document.text, stage.variables)
        held[normpath(join(stage.workdir, path))] = WrittenFile(text.replace("\\$", "$"), "", document.line)
    stage.written = held


def _in_image(stage: BuildStage, paths: Sequence[str]) -> frozenset[str]:
    return frozenset(normpath(join(stage.workdir, path)) for path in paths)


def _printed(rest: str, stage: BuildStage) -> Iterator[tuple[str, str, bool]]:
    """The path and the text of each `echo` and `printf` that goes to a file, and whether it is appended."""
    try:
        commands = [*_commands(rest)]
    except words.UnsplittableError:
        return
    folder = "."
    for number, (argv, target, end) in enumerate(commands):
        given = [words.unquoted(word, stage.variables) for word in argv]
        if given[:1] == ["cd"] and len(given) > 1:
            folder = join(folder, given[1])
        text = _text(given)
        appends = target.startswith(">>")
        path = target.lstrip(">")
        if not path and end == "|" and number + 1 < len(commands):
            piped = [words.unquoted(word, stage.variables) for word in commands[number + 1][0]]
            appends = "-a" in piped
            path = piped[-1] if [word for word in piped if word != "sudo"][:1] == ["tee"] else ""
        if text is not None and path:
            yield join(folder, words.unquoted(path, stage.variables)), text, appends


def _commands(rest: str) -> Iterator[tuple[list[str], str, str]]:
    """Each simple command: its words, `>` or `>>` with the file that it writes, and the operator after it."""
    argv: list[str] = []
    target, operator = "", ""
    for token in [*words.tokens(rest), words.ShellToken("operator", ";", 0)]:
        if token.kind == "operator" and token.text in {">", ">>"}:
            operator = token.text
        elif token.kind == "operator" and token.text not in {"<", "<<", "<<-", "<<<"}:
            if argv:
                yield argv, target, token.text
            argv, target, operator = [], "", ""
        elif token.kind == "word" and operator:
            target, operator = operator + token.text, ""
        elif token.kind == "word":
            argv.append(token.text)


def _text(given: list[str]) -> str | None:
    """The text that a command prints; None for any but `echo` and `printf`."""
    if given[:1] == ["echo"]:
        rest = given[1:]
        while rest and re.fullmatch(r"-[neE]+", rest[0]):
            rest = rest[1:]
        return _escaped(" ".join(rest)) + "\n"
    if given[:1] != ["printf"] or len(given) < 2:
        return None
    form, arguments = _escaped(given[1]), given[2:][:_MOST_ARGUMENTS]
    found = ""
    while True:
        taken = 0

        def value(match: re.Match[str]) -> str:
            nonlocal taken
            if match[1] == "%":
                return "%"
            taken += 1
            return "".join(arguments[taken - 1 : taken])  # noqa: B023 -- called within this round

        found += _FORMAT.sub(value, form)
        arguments = arguments[taken:]
        if not taken or not arguments:
            return found


def _escaped(text: str) -> str:
    return _ESCAPE.sub(lambda match: _ESCAPED[match[1]], text)


def unread(command: ContainerCommand | None, stage: BuildStage, inside: LaunchContext) -> str:
    """The word of a command for a file that the Dockerfile writes and does not hold as a script."""
    if command is None or not (stage.written or stage.redirected):
        return ""
    for word in (*command.words, *command.shell.split()):
        module = word.partition(":")[0].replace(".", "/")
        for name in (word, f"{module}.py"):
            path = normpath(join(stage.workdir, name))
            if path in stage.written:
                if path.endswith(".py"):
                    return word
                continue
            if path in stage.redirected and not path.startswith("/dev/") and inside.file(name) is None:
                return word
    return ""
