"""The verdict on one process: at most one finding about the call, and what goes with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from somatrace.check.launch.around import Launch, LaunchOrigin
from somatrace.check.project.source import Sources
from somatrace.check.rules.finding import Finding
from somatrace.check.run.machine import CodePlace, InitCall, SeenEvent
from somatrace.check.run.process import RunOutcome

_PUT = (
    'put `init_tracing("<name>")` at the top level of {path}, after its imports and before any model client'
)


@dataclass(frozen=True, slots=True)
class ProcessVerdict:
    """A process, the service it belongs to, and what was found. `name` is the service name, if certain."""

    launch: Launch
    path: str
    service: str
    findings: tuple[Finding, ...]
    name: str = ""
    traced: CodePlace | None = None


def judge(
    launch: Launch, outcome: RunOutcome, written: tuple[CodePlace, ...], service: str, sources: Sources
) -> ProcessVerdict:
    """Findings for one process."""
    path = outcome.found.path if outcome.found is not None else ""
    told = _Told(launch, path, service, sources)
    findings = tuple(_findings(told, outcome, written))
    calls = [call for call in outcome.ledger.inits if not call.served]
    traced = calls[0] if calls and outcome.certain else None
    name = traced.service if traced is not None and traced.service else ""
    return ProcessVerdict(launch, path, service, findings, name, traced.place if traced is not None else None)


def undecided(launch: Launch, service: str, sources: Sources) -> ProcessVerdict:
    """A launcher whose target cannot be followed."""
    line = max(launch.origin.line, 1)
    message = f"cannot prove that this process is traced: {launch.problem}"
    source = sources.line(launch.origin.path, line)
    advice = "name a file or module of this tree, or list the entrypoint in [tool.somatrace.check]"
    found = Finding(launch.origin.path, line, "ST041", 1, message, advice, (), service, source)
    return ProcessVerdict(launch, "", service, (found,))


@dataclass(frozen=True, slots=True)
class _Told:
    """Builds findings in the words of one launch."""

    launch: Launch
    path: str
    service: str
    sources: Sources

    def finding(
        self, code: str, place: CodePlace, message: str, advice: str, steps: tuple[CodePlace, ...] = ()
    ) -> Finding:
        source = self.sources.line(place.path, place.line)
        return Finding(
            place.path,
            place.line,
            code,
            place.column,
            message,
            advice,
            self.chain(steps, place),
            self.service,
            source,
        )

    def chain(self, steps: tuple[CodePlace, ...], end: CodePlace) -> tuple[str, ...]:
        origin = self.launch.origin
        found = (
            [f"{origin.path}:{origin.line}: {origin.text}"]
            if origin.line
            else [f"{self.path}: run {self.how()}"]
        )
        found.extend(
            f"{step.path}:{step.line}: {self.sources.line(step.path, step.line).strip()}"
            for step in steps[1:]
            if step != end and step.path
        )
        return tuple(dict.fromkeys(found))

    def how(self) -> str:
        start = self.launch.start
        if start.kind in {"script", "module"}:
            return "as a script"
        if start.kind == "function":
            return f"as the console script `{start.name}:{start.attribute}`"
        return f"by importing `{start.name}`"

    def runs(self) -> str:
        origin: LaunchOrigin = self.launch.origin
        return f"`{_short(origin.text)}`" if origin.line else f"this process, run {self.how()},"


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 80 else f"{flat[:77]}..."


def _findings(told: _Told, outcome: RunOutcome, written: tuple[CodePlace, ...]) -> Iterator[Finding]:
    if outcome.found is None:
        start = told.launch.start
        line = max(told.launch.origin.line, 1)
        target = told.launch.target or start.name
        advice = "correct the launcher, or the COPY and WORKDIR that lead to the module"
        message = f"`{target}` is not in this tree, so nothing proves that {told.runs()} is traced"
        yield told.finding("ST041", CodePlace(told.launch.origin.path, line), message, advice)
        return
    unreadable = outcome.ledger.unreadable
    for seen in unreadable.values():
        yield told.finding(
            "ST000",
            seen.place,
            f"{seen.what}, and {told.runs()} needs it",
            "make it a file that Python can import",
            seen.chain,
        )
    if outcome.found.path not in unreadable:
        yield from _call(told, outcome, written)
    yield from _arguments(told, outcome)


def _call(told: _Told, outcome: RunOutcome, written: tuple[CodePlace, ...]) -> Iterator[Finding]:
    """The one verdict: called exactly once before serving, or why not."""
    early = [call for call in outcome.ledger.inits if not call.served]
    if outcome.exhausted:
        place = CodePlace(told.path, 1)
        yield told.finding(
            "ST041",
            place,
            "its start-up is too large to follow",
            "call `init_tracing` first, at the top level",
        )
    elif outcome.certain > 1:
        yield _repeated(told, early)
    elif outcome.certain == 1:
        if outcome.ledger.models:
            yield _client_first(told, outcome.ledger.models[0], early)
    elif outcome.possible and not outcome.supervises:
        yield _conditional(told, early)
    elif not outcome.supervises:
        yield from _uncalled(told, outcome, written)


def _uncalled(told: _Told, outcome: RunOutcome, written: tuple[CodePlace, ...]) -> Iterator[Finding]:
    if outcome.late:
        yield _late(told, outcome.late[0])
    elif outcome.ledger.shadows:
        yield _shadowed(told, outcome.ledger.shadows[0])
    elif written:
        yield _unreachable(told, written)
    elif not outcome.ledger.unreadable:
        message = f"{told.runs()} never calls `init_tracing`, so nothing of this process is traced"
        yield told.finding("ST001", CodePlace(told.path, 1), message, _PUT.format(path=told.path))


def _repeated(told: _Told, calls: list[InitCall]) -> Finding:
    first, second = calls[0], next((call for call in calls[1:] if call.place != calls[0].place), calls[-1])
    if first.place == second.place:
        message = f"{told.runs()} calls `init_tracing` here more than once"
    else:
        message = f"{told.runs()} has called `init_tracing` in {first.place.path}:{first.place.line} already"
    return told.finding("ST007", second.place, message, "keep one call per process", second.chain)


def _client_first(told: _Told, seen: SeenEvent, calls: list[InitCall]) -> Finding:
    where = f"{calls[-1].place.path}:{calls[-1].place.line}" if calls else "later"
    message = f"`{seen.what}` is used here, before `init_tracing` in {where}: its spans can be lost"
    return told.finding("ST005", seen.place, message, "move `init_tracing` before this line", seen.chain)


def _conditional(told: _Told, calls: list[InitCall]) -> Finding:
    call = calls[0]
    why = ""
    if call.conditions:
        on = call.conditions[-1]
        text = told.sources.line(on.path, on.line).strip()
        why = f": it depends on `{_short(text)}` in {on.path}:{on.line}"
    message = f"{told.runs()} calls `init_tracing` on some paths only{why}"
    return told.finding(
        "ST003", call.place, message, "call it always; SOMATRACE_TARGET=none switches tracing off", call.chain
    )


def _late(told: _Told, call: InitCall) -> Finding:
    message = (
        f"{told.runs()} reaches this call only after it has begun to serve, or at exit, or on another thread"
    )
    return told.finding("ST004", call.place, message, _PUT.format(path=told.path), call.chain)


def _shadowed(told: _Told, seen: SeenEvent) -> Finding:
    message = f"this calls {seen.what}, not somatrace's `init_tracing`, so {told.runs()} is untraced"
    return told.finding(
        "ST006",
        seen.place,
        message,
        "`from somatrace import init_tracing`, under a name that nothing else takes",
        seen.chain,
    )


def _unreachable(told: _Told, written: tuple[CodePlace, ...]) -> Finding:
    place = next((one for one in written if one.path == told.path), written[0])
    message = f"{told.runs()} never runs this call, so this process is untraced"
    if told.launch.start.kind == "import" and place.path == told.path:
        message = f"{told.runs()} imports this module and never runs this call, so this service is untraced"
    return told.finding("ST002", place, message, _PUT.format(path=told.path))


def _arguments(told: _Told, outcome: RunOutcome) -> Iterator[Finding]:
    seen: set[CodePlace] = set()
    for call in outcome.ledger.inits:
        if call.place in seen or call.wrapped:
            continue
        seen.add(call.place)
        if call.served and call.service is None:
            continue  # whoever calls it late may bring the name along
        if not call.service or not call.service.strip() or call.service == "__main__":
            message = (
                "the service name is no constant of the source"
                if call.service is None
                else "the service name is empty"
            )
            yield told.finding(
                "ST010", call.place, message, 'give it as a literal: `init_tracing("orders")`', call.chain
            )
        if call.content:
            yield told.finding(
                "ST020",
                call.place,
                "`trace_content=True` asks for every tenant's prompts",
                "open single tenants in the policy file",
            )
