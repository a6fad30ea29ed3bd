"""The commands of a shell script, in order, with what decides whether each of them stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from posixpath import basename

from somatrace.check.launch import shell_blocks, shell_conditions
from somatrace.check.launch.words import SHELLS, VARIABLE, ShellToken, UnsplittableError, tokens, unquoted

_KEYWORDS = frozenset([
    "if", "then", "else", "elif", "fi", "do", "done", "while", "until", "for", "case", "esac", "in", "{",
    "}", "!", "function", "select", "time",
])  # fmt: skip
_LOOPS = frozenset(["while", "until", "for", "select"])
_ENDLESS = frozenset([("while", "true"), ("while", ":"), ("while", "1"), ("until", "false")])
_BEFORE_SHELL = frozenset(["exec", "sudo"])
_BLOCK_ENDS = frozenset(["fi", "else", "elif", "done", ";;", "esac", "}", ")"])
_NUMBERS = dict.fromkeys(map(str, range(1, 10)))
_MOST_DEPTH = 8
#: Functions that call each other multiply.
_MOST_TOKENS = 20_000
_MOST_NESTED = 50
_MOST_CONDITIONS = 200
_MOST_STEPS = 2_000


@dataclass(frozen=True, slots=True)
class ShellStep:
    """One simple command. `last` if it ends its block; `behind` if it runs in the background; `endless` if a
    loop that does not end repeats it.
    """

    words: tuple[str, ...]
    line: int
    last: bool
    behind: bool = False
    endless: bool = False


def split(
    text: str,
    variables: Mapping[str, str] | None = None,
    positional: tuple[str, ...] = (),
    *,
    depth: int = 0,
) -> list[ShellStep]:
    """The commands of a script or command line that is given the `positional` arguments.

    Functions count where they are called. Raises `UnsplittableError` if a part cannot be understood.
    """
    splitter = _Splitter(dict(variables or {}), positional, depth)
    splitter.given(positional)
    splitter.run(list(tokens(text.rstrip())))
    splitter.close("\n")
    _mark_last(splitter.steps, found_after=False)
    return splitter.steps


@dataclass(slots=True)
class _Splitter:
    known: dict[str, str]
    positional: tuple[str, ...]
    #: of here-documents that shells read, and of functions
    depth: int
    functions: dict[str, list[ShellToken]] = field(default_factory=dict)
    arrays: dict[str, list[str]] = field(default_factory=dict)
    #: variables whose values come from the arguments alone
    settled: set[str] = field(default_factory=set)
    steps: list[ShellStep] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    #: where each open loop begins, and whether it is endless
    loops: list[tuple[int, bool]] = field(default_factory=list)
    line: int = 1
    redirected: bool = False
    #: how many tokens were taken, and how many `run` go on
    taken: int = 0
    nested: int = 0
    #: how many conditions were read
    conditions: int = 0
    #: whether the branch that the arguments choose ends the script
    over: bool = False

    def given(self, positional: tuple[str, ...]) -> None:
        """Set the arguments: `$1`, `$@`."""
        for name in _NUMBERS:
            self.known.pop(name, None)
        self.positional = positional
        self.known |= dict(zip(_NUMBERS, positional, strict=False))
        if positional:
            self.settled |= _NUMBERS.keys()

    def run(self, given: Sequence[ShellToken]) -> None:
        """Take all tokens, and whole functions, arrays and `case` commands at once."""
        at, ended = 0, shell_blocks.ends(given)
        self.nested += 1
        while at < len(given) and not self.over:
            self.taken += 1
            if self.taken > _MOST_TOKENS:
                raise UnsplittableError("its functions call each other too often", given[at].line)
            start = all(word in _KEYWORDS for word in self.words)
            if start and (function := shell_blocks.function(given, at, ended)) is not None:
                self.functions[function.name] = function.body
                at = function.end
            elif (array := shell_blocks.array(given, at, ended)) is not None:
                self._array(array)
                at = array.end
            elif start and (chosen := self._chosen(given, at, ended)) is not None:
                self.run(chosen.body)
                self.close(";;")
                at = chosen.end
                self.over |= shell_blocks.ends_script(chosen.body)
            else:
                self.take(*given[at])
                at += 1
        self.nested -= 1

    def _chosen(
        self, given: Sequence[ShellToken], at: int, ended: Mapping[int, int]
    ) -> shell_blocks.Chosen | None:
        """The commands of a `case` or an `if` that begins here and depends on the arguments alone."""
        if self.nested >= _MOST_NESTED:
            return None
        if given[at].text == "case":
            return shell_blocks.chosen(given, at, ended, self.known, self.settled)
        if given[at].text == "if" and self.settled and self.conditions < _MOST_CONDITIONS:
            self.conditions += 1
            return shell_conditions.chosen(given, at, self.known, self.settled, self.positional)
        return None

    def take(self, kind: str, token: str, line: int) -> None:
        if kind in {"word", "arithmetic"}:
            self._word(token, line)
        elif kind == "document":
            self._document(token, line)
        elif kind == "operator" and token[0] in "<>":
            self.redirected = True
            if self.words and self.words[-1].isdigit():
                self.words.pop()
        elif kind != "comment":
            self.close(token)

    def _word(self, token: str, line: int) -> None:
        if self.redirected:
            self.redirected = False
            return
        self.line = line if not self.words else self.line
        self.words += self._expanded(token)
        name, equals, value = token.partition("=")
        if equals and name.isidentifier():
            self.settled.discard(name)
            if shell_blocks.is_settled(value, self.settled):
                self.settled.add(name)

    def _expanded(self, token: str) -> list[str]:
        """The words that a word becomes."""
        if (listed := shell_blocks.ARGUMENTS.fullmatch(token)) is not None:
            default = [unquoted(listed[1], self.known)] if listed[1] else []
            return list(self.positional) or default
        if (named := shell_blocks.ELEMENTS.fullmatch(token)) is not None and named[1] in self.arrays:
            return self.arrays[named[1]]
        word = unquoted(token, self.known)
        # an unquoted variable on its own expands to as many words as its value has
        return word.split() if VARIABLE.fullmatch(token) else [word]

    def _array(self, array: shell_blocks.Array) -> None:
        held = self.arrays.get(array.name, []) if array.appends else []
        added = [word for token in array.words for word in self._expanded(token)]
        self.arrays[array.name] = [*held, *added][:_MOST_STEPS]

    def _document(self, body: str, line: int) -> None:
        """The body of a here-document is a script if a shell reads it, and text otherwise."""
        reader = [word for word in self.steps[-1].words if word not in _BEFORE_SHELL] if self.steps else []
        if reader and basename(reader[0]) in SHELLS and all(word.startswith("-") for word in reader[1:]):
            if self.depth >= _MOST_DEPTH:
                raise UnsplittableError("here-documents are nested too deeply", line)
            inner = split(body, self.known, self.positional, depth=self.depth + 1)
            self.steps += [replace(step, line=step.line + line - 1) for step in inner]

    def close(self, end: str) -> None:
        """End the current command."""
        kept = _without_keywords(self.words)
        self._loop(kept)
        before = len(self.steps)
        if kept and kept[0] in self.functions and self.depth < _MOST_DEPTH:
            self._call(kept, behind=end == "&")
        elif kept == ["shift"] and self.positional:
            self.given(self.positional[1:])
        elif kept:
            if len(self.steps) >= _MOST_STEPS:
                raise UnsplittableError(f"it has more than {_MOST_STEPS:,} commands", self.line)
            endless = any(endless for _, endless in self.loops)
            self.steps.append(ShellStep(tuple(kept), self.line, False, end == "&", endless))
            _learn(kept, self.known)
        if any(word in _BLOCK_ENDS for word in self.words[:1]) or end in {";;", ")"}:
            _mark_last(self.steps, len(self.steps) > before and end not in {";;", ")"})
        self.words = []

    def _call(self, kept: list[str], *, behind: bool) -> None:
        """The commands of a function that is called, with its arguments."""
        before, positional, settled = len(self.steps), self.positional, set(self.settled)
        body, words, line = self.functions[kept[0]], self.words, self.line
        self.words, self.depth = [], self.depth + 1
        self.settled -= _NUMBERS.keys()
        self.given(tuple(kept[1:]))
        self.run(body)
        self.close("\n")
        self.words, self.line, self.depth = words, line, self.depth - 1
        self.given(positional)
        self.settled = settled
        if behind:
            _mark_last(self.steps, found_after=False)
            self.steps[before:] = [replace(step, behind=behind) for step in self.steps[before:]]

    def _loop(self, kept: list[str]) -> None:
        """Follow the loops that the current command begins or ends."""
        for word in self.words[: len(self.words) - len(kept)] or self.words[:1]:
            if word in _LOOPS:
                test = " ".join(kept).strip("[] ")
                self.loops.append((len(self.steps) + 1, (word, test) in _ENDLESS))
            elif word == "done" and self.loops:
                self.loops.pop()
        if kept and kept[0] == "break" and self.loops:
            start, _ = self.loops.pop()
            self.loops.append((start, False))
            self.steps[start:] = [replace(step, endless=False) for step in self.steps[start:]]


def _mark_last(steps: list[ShellStep], found_after: bool) -> None:
    index = len(steps) - (2 if found_after else 1)
    if index >= 0:
        steps[index] = replace(steps[index], last=True)


def _without_keywords(words: list[str]) -> list[str]:
    start = 0
    while start < len(words) and words[start] in _KEYWORDS:
        if words[start] in {"for", "case", "select", "function"}:
            return []
        start += 1
    return words[start:]


def _learn(words: list[str], known: dict[str, str]) -> None:
    """Record assignments: `PORT=8000`, `export PORT=8000`, `: "${PORT:=8000}"`."""
    given = words[1:] if words[0] in {"export", "readonly", "local", "declare"} else words
    if all(shell_blocks.ASSIGNMENT.match(word) for word in given):
        for word in given:
            name, _, value = word.partition("=")
            if "$" not in value and "`" not in value:
                known[name] = value
