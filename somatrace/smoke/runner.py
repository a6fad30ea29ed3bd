"""Run smoke, from the settings to the outcome."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from somatrace import semconv
from somatrace.config import Config, Settings, resolve
from somatrace.delivery.factory import transport_of
from somatrace.delivery.probe import probe
from somatrace.smoke.canaries import CanarySet
from somatrace.smoke.checks import ExpectedTrace, Observation, check_trace, text_of
from somatrace.smoke.child import BY_HAND, SERVICE, WORKFLOW, has_client
from somatrace.smoke.child_process import (
    CHILD,
    Deadline,
    SentTrace,
    has_model_server,
    make_trace,
    model_server,
)
from somatrace.smoke.langfuse_reader import TraceReader, reader_of
from somatrace.smoke.local_reader import from_bytes
from somatrace.smoke.outcomes import EndedError, NotYetError
from somatrace.smoke.report import Check, RunLog, SmokeReport
from somatrace.tracing.content_policy import grants_of

TENANT: Final = "somatrace-smoke"
AGENT: Final = "smoke-agent"
_PROBE_SECONDS: Final = 10.0
_LEAST_SECONDS: Final = 2.0
_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 0.5


@dataclass(frozen=True)
class SmokeOptions:
    """Command-line options. `timeout` limits the whole run, in seconds; `model` applies to `real` calls."""

    env_file: str | None = None
    timeout: float = 30.0
    real: bool = False
    model: str = "local-extractive"


def run(options: SmokeOptions, *, child: Sequence[str] = CHILD) -> SmokeReport:
    """Create one trace, read it back and check it. `child` is the program that creates it."""
    log = RunLog()
    try:
        _Run(options, log, child).go()
    except EndedError as end:
        return log.ended(end)
    except Exception as error:
        return log.ended(EndedError("broken", what=type(error).__name__))
    return log.ended(EndedError("ok"))


class _Run:
    def __init__(self, options: SmokeOptions, log: RunLog, child: Sequence[str]) -> None:
        self._options = options
        self._log = log
        self._child = child
        self._deadline = Deadline(options.timeout)
        self._canaries = CanarySet.fresh()
        config = Config(env_file=options.env_file) if options.env_file else None
        self._settings = resolve(SERVICE, config)
        self._granted = _granted(self._settings)
        self._tags = {
            semconv.TENANT: TENANT,
            semconv.WORKFLOW: WORKFLOW,
            semconv.AGENT: AGENT,
            semconv.CORRELATION: f"smoke-{secrets.token_hex(8)}",
            semconv.SESSION: f"smoke-{secrets.token_hex(4)}",
            semconv.USER: "smoke-user",
        }

    def go(self) -> None:
        """Run all steps in order; raises `EndedError` at the first failure."""
        settings, target, log = self._settings, self._settings.target, self._log
        log.target = f"{target.kind} {target.address} ({settings.sources.get('target', 'default')})".replace(
            "  ", " "
        )
        for problem in settings.problems:
            log.note("problem", what=problem)
        if not settings.enabled:
            raise EndedError("off", what=f"{settings.sources['enabled']} disables tracing")
        if target.unusable:
            raise EndedError("unusable", what=target.unusable)
        if target.kind == "none":
            raise EndedError("off", what="the target is none")
        _, prevented = transport_of(settings)
        if prevented:
            raise EndedError("off", what=prevented)
        if settings.sampler != "parentbased_always_on":
            log.note("sampling", what=f"{settings.sample_rate:g} ({settings.sampler})")
        if self._granted != "none":
            log.note("content", tenant=TENANT, mode=self._granted)
        if target.kind in ("langfuse", "otlp"):
            self._probe()
        # created before the trace: its import takes longer than most traces need to become visible
        reader = reader_of(settings, log.note)
        try:
            made = self._make_trace()
            expected, sent = self._check_sent(made)
            self._check_answers(made)
            self._read_back(reader, made, expected, len(sent))
        finally:
            if reader is not None:
                reader.close()

    # -- the target -----------------------------------------------------------------------------------

    def _probe(self) -> None:
        """Send an export without spans; raises `EndedError` if the target does not accept it."""
        target = self._settings.target
        # grant a minimum: with no time left every target would seem to be unreachable
        result = probe(target, min(_PROBE_SECONDS, max(_LEAST_SECONDS, self._deadline.left)))
        if result.fault is None:
            self._log.checks.append(Check("the target answers", ok=True, said=result.message))
            return
        setting = self._setting()
        if result.better:
            raise EndedError(
                "elsewhere", url=target.address, what=result.message, better=result.better, setting=setting
            )
        raise EndedError(result.fault, url=target.address, what=result.message, setting=setting)

    def _setting(self) -> str:
        """The variable that sets the target's address."""
        kind = self._settings.target.kind
        name = "langfuse_host" if kind == "langfuse" else "endpoint"
        source = self._settings.sources.get(name, "default")
        return "SOMATRACE_ENDPOINT" if source in ("default", "keyword") else source

    # -- the trace --------------------------------------------------------------------------------------

    def _make_trace(self) -> SentTrace:
        options, by_hand = self._options, False
        if not options.real and not has_client():
            self._log.note("by_hand")
            by_hand = True
        elif not options.real and not has_model_server():
            self._log.note("no_server")
            by_hand = True
        needs_server = not (options.real or by_hand)
        with model_server(self._canaries.secret, self._deadline) if needs_server else nullcontext("") as url:
            made = make_trace(
                {
                    "directory": "",
                    "env_file": options.env_file,
                    "tags": self._tags,
                    "prompt": self._canaries.prompt,
                    "llm_url": None if options.real else url,
                    "api_key": self._canaries.secret,
                    "model": options.model,
                    "until": 0.0,
                },
                self._deadline,
                self._child,
            )
        trace_id = made.result["trace_id"]
        self._log.trace_id = trace_id if trace_id.strip("0") else ""
        return made

    def _check_sent(self, made: SentTrace) -> tuple[ExpectedTrace, list[Observation]]:
        """Check that the bytes sent are the complete trace and contain no content."""
        leaked = self._canaries.found_in(made.sent, self._granted)
        if leaked:
            raise EndedError("leaked", what=" and ".join(leaked))
        if not made.sent:
            lost = [f"{count} spans lost: {reason}" for reason, count in made.result["lost"].items()]
            why = [*made.result["unprotected"], *lost, *made.result["problems"]]
            raise EndedError("unsent", what=why[0] if why else "no span was handed to the target")
        call = made.result["call"]
        if call is None:
            raise EndedError("model", what=made.result["error"])
        by, model, input_tokens, output_tokens = call
        expected = ExpectedTrace(made.result["root_id"], self._tags, model, input_tokens, output_tokens)
        sent = from_bytes(made.sent, self._log.trace_id)
        server = "your own model" if self._options.real else "the bundled model server"
        self._log.spans, self._log.made_by = len(sent), by if by == BY_HAND else f"{by} calling {server}"
        if input_tokens is None:
            self._log.note("no_usage")
        self._log.checks.append(Check("no planted content in the bytes sent", ok=True))
        self._expect(sent, expected, "unsound")
        return expected, sent

    def _check_answers(self, made: SentTrace) -> None:
        """Check that the target accepted the trace."""
        answers = made.result["answers"]
        outcome, message, fault = answers[-1] if answers else ("", "no answer in time", None)
        if made.result["flushed"] and outcome == "accepted":
            return
        if self._settings.target.kind in ("langfuse", "otlp"):
            self._probe()
        target = self._settings.target
        raise EndedError(fault or "server", what=message, url=target.address, setting=self._setting())

    # -- reading back -------------------------------------------------------------------------------------

    def _read_back(
        self, reader: TraceReader | None, made: SentTrace, expected: ExpectedTrace, spans: int
    ) -> None:
        target = self._settings.target
        if target.kind == "console":
            raise EndedError("unverifiable", what="the target is the service's own console")
        if reader is None:
            where = urlsplit(target.address).netloc or target.address
            raise EndedError("unverifiable", what=f"OTLP offers no way to read traces back from {where}")
        found = self._wait_for(reader, spans)
        self._log.seconds_to_visible = max(0.0, time.time() - made.result["ended"])
        shown = self._canaries.found_in(text_of(found), self._granted)
        if shown:
            raise EndedError("shown", what=" and ".join(shown))
        self._log.checks.append(Check("no planted content in the trace read back", ok=True))
        self._expect(found, expected, "incomplete")

    def _wait_for(self, reader: TraceReader, spans: int) -> list[Observation]:
        """The observations, once all of them are readable."""
        pause, seen, error_text, answered = _FIRST_PAUSE, 0, "", False
        while self._deadline.left > 0:
            try:
                found = reader.read(self._log.trace_id, self._deadline.left)
            except NotYetError as error:
                # an error caused by our own deadline is less useful than the previous answer
                if self._deadline.left > 0 or not answered:
                    error_text = str(error)
            else:
                error_text, answered = "", True
                seen = len({each.get("id") for each in found})
                if seen >= spans:
                    return found
            time.sleep(min(pause, self._deadline.left))
            pause = min(_LONGEST_PAUSE, pause * 1.5)
        seconds = f"{self._options.timeout:g}"
        if error_text:
            raise EndedError("unreadable", what=error_text, seconds=seconds)
        raise EndedError("invisible", seconds=seconds, seen=seen, sent=spans)

    def _expect(self, observations: Sequence[Observation], expected: ExpectedTrace, outcome: str) -> None:
        checks = check_trace(observations, expected)
        wrong = [check for check in checks if not check.ok]
        where = "sent" if outcome == "unsound" else "read back"
        self._log.checks += [Check(f"{check.name}, {where}", check.ok, check.said) for check in checks]
        if wrong:
            raise EndedError(outcome, what="; ".join(f"{check.name}: {check.said}" for check in wrong))


def _granted(settings: Settings) -> str:
    """The content mode that the policy grants smoke's tenant."""
    grants = grants_of(settings)
    try:
        return grants.resolve(TENANT).mode
    finally:
        grants.close()
