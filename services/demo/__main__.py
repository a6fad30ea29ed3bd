"""`python -m services.demo`: start all services, send the workflows and read the traces back."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from services.demo import report, workload
from services.demo.processes import Interrupted, Processes, StartError
from services.demo.stack import ROOT, Ingester, start_ingester, start_model, start_services

READ_BACK_LIMIT = 20.0
MARKER = "made-by-the-demo"


def main(argv: list[str] | None = None) -> int:
    """Return 0 if the store matches, 1 if it differs or a process failed to start, 2 for bad input."""
    options = _options(argv)
    console = Console(highlight=False)
    try:
        data = empty_directory(options.data_dir)
        with Processes(data / "logs") as processes:
            return _run(console, processes, data, options)
    except OSError as error:
        console.print(f"demo: {error}", markup=False, soft_wrap=True)
        return 2
    except StartError as error:
        console.print(f"demo: {error}", markup=False, soft_wrap=True)
        return 1
    except Interrupted:
        console.print("demo: interrupted; all processes it started have been stopped")
        raise


def _run(console: Console, processes: Processes, data: Path, options: argparse.Namespace) -> int:
    began = time.monotonic()
    console.print("starting the local ingester, the model server and four services ...")
    ingester = start_ingester(processes, data)
    model = start_model(processes, data)
    gateway = start_services(processes, data, model, ingester.settings())
    console.print(f"ready after {time.monotonic() - began:.1f} s")

    planned = workload.plan(options.workflows)
    with _progress(console, len(planned)) as advance:
        outcomes = asyncio.run(workload.send(gateway, planned, options.concurrency, advance))
    unexpected = [outcome for outcome in outcomes if not outcome.as_expected]
    for outcome in unexpected[:5]:
        console.print(f"unexpected: {outcome.status} for {outcome.question.text!r}", markup=False)

    sent = _sent(outcomes)
    found, wrong = _wait_for_store(ingester, sent)
    console.print(report.table(found))
    total = f"{len(outcomes)} workflows of {len(sent)} tenants"
    for line in wrong:
        console.print(f"  {line}", markup=False)
    verdict = "the store differs" if wrong else "the store holds exactly that"
    console.print(f"sent: {total}; {verdict} ({time.monotonic() - began:.1f} s in all)")
    _print_next_steps(console, ingester, data)
    return 1 if wrong or unexpected else 0


def _wait_for_store(ingester: Ingester, sent: dict[str, report.Sent]) -> tuple[list[report.Row], list[str]]:
    """Poll the store until it matches `sent` or time is up; return its rows and the remaining differences."""
    deadline = time.monotonic() + READ_BACK_LIMIT
    while True:
        try:
            observations = report.read_back(ingester.url, ingester.public_key, ingester.secret_key)
        except httpx.HTTPError as error:
            return [], [f"the store could not be read: {type(error).__name__}"]
        found = report.rows(observations)
        wrong = report.differences(found, sent)
        if not wrong or time.monotonic() > deadline:
            return found, wrong
        time.sleep(0.5)


def _sent(outcomes: list[workload.Outcome]) -> dict[str, report.Sent]:
    sent: dict[str, report.Sent] = {}
    for outcome in outcomes:
        before = sent.get(outcome.tenant.id, report.Sent())
        sent[outcome.tenant.id] = report.Sent(
            workflows=before.workflows + 1,
            errors=before.errors + (outcome.status >= 400),
            llm_calls=before.llm_calls + outcome.question.llm_calls,
        )
    return sent


def _print_next_steps(console: Console, ingester: Ingester, data: Path) -> None:
    shown = data.relative_to(ROOT) if data.is_relative_to(ROOT) else data
    command = Path(sys.executable).with_name("somatrace")
    program = command.relative_to(ROOT) if command.is_relative_to(ROOT) else command
    console.print(f"look at the traces:  {program} local --data-dir {shown}", markup=False, soft_wrap=True)
    if ingester.page and sys.stdin.isatty() and console.is_terminal:
        console.print(f"or now:  {ingester.page}", markup=False, soft_wrap=True)
        with suppress(EOFError):
            console.input("Enter ends the demo. ")


@contextmanager
def _progress(console: Console, total: int) -> Iterator[Callable[[], None]]:
    """Yield a callback for finished workflows: a progress bar on a terminal, else a line per quarter."""
    if console.is_terminal:
        columns = (TextColumn("workflows"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("workflows", total=total)
            yield lambda: bar.advance(task)
        return
    step, count = max(1, total // 4), 0

    def advance() -> None:
        nonlocal count
        count += 1
        if count % step == 0:
            console.print(f"{count} of {total} workflows")

    yield advance


def empty_directory(path: Path) -> Path:
    """Create an empty directory; existing content is removed only if an earlier demo created it."""
    data = path.resolve()
    if data.exists() and not (data / MARKER).exists() and any(data.iterdir()):
        raise FileExistsError(
            f"{path} contains files that the demo did not create: choose another --data-dir"
        )
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(mode=0o700, parents=True)
    (data / MARKER).touch()
    return data


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m services.demo", description=__doc__)
    parser.add_argument(
        "--workflows", type=_count, default=100, help="number of workflows (default %(default)s)"
    )
    parser.add_argument(
        "--concurrency", type=_count, default=8, help="workflows at a time (default %(default)s)"
    )
    parser.add_argument(
        "--data-dir", type=Path, default=ROOT / ".demo", help="directory for the store (default .demo)"
    )
    return parser.parse_args(argv)


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 10000")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
