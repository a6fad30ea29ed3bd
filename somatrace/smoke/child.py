"""Child process of `smoke`: a minimal service that traces one model call through the public API.

`python -m somatrace.smoke.child` reads its order as JSON from standard input. It writes to the order's
directory one file `*.sent` per export (the bytes sent to the target) and, after the flush, `result.json`.
The files appear whole: at exit the child process may send again while the parent reads.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import Any, Final, NamedTuple, TypedDict

from somatrace.config import Config
from somatrace.context.tags import Scalar
from somatrace.delivery.send_result import SendResult, Transport

SERVICE: Final = "somatrace-smoke"
WORKFLOW: Final = "smoke"
#: `ModelCall.by` of a call made without a client.
BY_HAND: Final = "by hand"
#: Suffix of the files that hold one export each.
SENT: Final = ".sent"
#: Failed sends after which the flush is abandoned.
_MAX_FAILURES: Final = 3


class TraceOrder(TypedDict):
    """The parent's request. `llm_url` is "" for a call by hand, None for the user's own client settings;
    `until` is in monotonic seconds, which all processes on a machine share."""

    directory: str
    env_file: str | None
    tags: dict[str, str]
    prompt: str
    llm_url: str | None
    api_key: str
    model: str
    until: float


class ModelCall(NamedTuple):
    """One model call. Token counts are None when the provider did not report them."""

    by: str
    model: str
    input_tokens: int | None
    output_tokens: int | None


class RecordingTransport:
    """A transport that records the bytes passed to another one, and its results."""

    def __init__(self, inner: Transport, directory: Path, answers: list[SendResult]) -> None:
        self._inner = inner
        self._directory = directory
        self._answers = answers

    def send(self, body: bytes, timeout: float) -> SendResult:
        _write_whole(self._directory / f"{time.monotonic_ns():020}{SENT}", body)
        answer = self._inner.send(body, timeout)
        self._answers.append(answer)
        return answer

    def interrupt(self) -> None:
        self._inner.interrupt()

    def close(self) -> None:
        self._inner.close()


def main() -> int:
    """Execute the order from standard input."""
    order: TraceOrder = json.load(sys.stdin)
    directory = Path(order["directory"])
    answers: list[SendResult] = []

    import somatrace

    # the only trace must not be sampled out
    somatrace.init_tracing(SERVICE, config=Config(env_file=order["env_file"], sample_rate=1.0))
    _record_sends(directory, answers)
    result = _traced(order)
    result["flushed"] = _flush(answers, order["until"])
    status = somatrace.status()
    result["answers"] = [(answer.outcome, answer.message, answer.fault) for answer in answers]
    result["unprotected"] = status.unprotected
    result["problems"] = status.problems
    result["lost"] = dict(status.lost)
    result["instruments"] = dict(status.instruments)
    _write_whole(directory / "result.json", json.dumps(result).encode())
    return 0


def _write_whole(file: Path, data: bytes) -> None:
    """Write `file` so that a reader in another process sees all of it or nothing."""
    draft = file.with_suffix(".draft")
    draft.write_bytes(data)
    draft.replace(file)


def _record_sends(directory: Path, answers: list[SendResult]) -> None:
    from somatrace.tracing import installed

    tracing = installed()
    outbox = tracing.pipeline.outbox if tracing is not None and tracing.pipeline is not None else None
    if outbox is not None:
        outbox.wrap_transports(lambda transport: RecordingTransport(transport, directory, answers))


def _flush(answers: list[SendResult], until: float) -> bool:
    """Flush and return whether everything arrived; gives up on a target that keeps failing."""
    from somatrace import flush

    while (left := until - time.monotonic()) > 0:
        if flush(min(0.2, left)):
            return True
        failures = [answer for answer in answers if answer.outcome != "accepted"]
        if len(failures) >= _MAX_FAILURES or (failures and failures[-1].outcome == "misconfigured"):
            break
    return False


def _traced(order: TraceOrder) -> dict[str, Any]:
    """Create the trace: a workflow with one model call."""
    from somatrace import bind, content, span

    tags: dict[str, Scalar] = {**order["tags"]}
    result: dict[str, Any] = {"call": None, "error": ""}
    with bind(**tags), span(WORKFLOW, kind="workflow") as root:
        content(input=order["prompt"])
        try:
            result["call"] = _by_hand(order) if order["llm_url"] == "" else _by_client(order)
        except Exception as error:
            result["error"] = _error_name(error)
        context = root.get_span_context()
    result["ended"] = time.time()
    result["trace_id"] = format(context.trace_id, "032x")
    result["root_id"] = format(context.span_id, "016x")
    return result


def _by_client(order: TraceOrder) -> ModelCall:
    """Call through the openai client: the bundled server without proxies, or the user's own settings."""
    import openai

    settings: dict[str, Any] = {"max_retries": 0, "timeout": max(0.1, order["until"] - time.monotonic())}
    if order["llm_url"] is not None:
        settings |= {
            "base_url": order["llm_url"],
            "api_key": order["api_key"],
            "http_client": openai.DefaultHttpxClient(trust_env=False),
        }
    with openai.OpenAI(**settings) as client:
        answer = client.chat.completions.create(
            model=order["model"], messages=[{"role": "user", "content": order["prompt"]}]
        )
    used = answer.usage
    return ModelCall(
        f"by the openai client {importlib.metadata.version('openai')}",
        answer.model,
        used.prompt_tokens if used else None,
        used.completion_tokens if used else None,
    )


def _by_hand(order: TraceOrder) -> ModelCall:
    from somatrace import content, span, usage

    call = ModelCall(BY_HAND, "by-hand", 11, 7)
    with span("smoke.call", kind="llm"):
        content(input=order["prompt"], output=order["prompt"])
        usage(model=call.model, input_tokens=call.input_tokens, output_tokens=call.output_tokens)
    return call


def _error_name(error: Exception) -> str:
    """The exception's type and HTTP status. Its message may contain the key and the prompt."""
    status = getattr(error, "status_code", None)
    return f"{type(error).__name__}{f', status {status}' if isinstance(status, int) else ''}"


def has_client() -> bool:
    """Whether the openai client is installed."""
    return importlib.util.find_spec("openai") is not None


if __name__ == "__main__":
    sys.exit(main())
