"""`python -m services.demo.load`: load the sample services, and compare what the model server says it served
with what `cost_report` attributes, from the spans and from the services' ledger, request by request."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import httpx
from rich.console import Console

from services.demo import attribution, histogram, workload
from services.demo.__main__ import READ_BACK_LIMIT, empty_directory
from services.demo.attribution import Bill, Key
from services.demo.load_plan import LABEL, WORKFLOWS, Arrival, arrivals, tenants, write_tenants
from services.demo.processes import Interrupted, Processes, StartError
from services.demo.stack import (
    PRICES,
    ROOT,
    Ingester,
    data_dir,
    start_ingester,
    start_model,
    start_services,
)
from somatrace.config import Config
from somatrace.costs import cost_report


@dataclass(frozen=True)
class Answered:
    """The status of an answer, 0 for none, and how long it took from the planned time on."""

    arrival: Arrival
    status: int
    seconds: float

    @property
    def as_expected(self) -> bool:
        return self.status == self.arrival.question.status


SERVED = "served.jsonl"
MOST_LISTED = 20


def main(argv: list[str] | None = None) -> int:
    """Return 0 if nothing differs, 1 if something does or a process failed to start, 2 for bad input."""
    options = _options(argv)
    console = Console(highlight=False, soft_wrap=True)
    try:
        if options.again:
            return _again(console, options)
        data = empty_directory(options.data_dir)
        with Processes(data / "logs") as processes:
            return _run(console, processes, data, options)
    except (OSError, attribution.BadFileError) as error:
        console.print(f"load: {error}", markup=False)
        return 2
    except StartError as error:
        console.print(f"load: {error}", markup=False)
        return 1
    except Interrupted:
        console.print("load: interrupted; all processes it started have been stopped")
        raise


def _run(console: Console, processes: Processes, data: Path, options: argparse.Namespace) -> int:
    rates = attribution.rates(options.prices)
    who = tenants(options.tenants)
    planned = arrivals(who, options.workflows, options.rate, options.errors, options.minutes)
    console.print("starting the local ingester, the model server and four services ...")
    ingester = start_ingester(processes, data)
    model = start_model(processes, data, "--served-file", str(data / SERVED), "--label", LABEL)
    settings = {
        "TENANTS_FILE": str(write_tenants(who, data / "tenants.toml")),
        "SOMATRACE_PRICES_FILE": str(options.prices.resolve()),
        "SOMATRACE_COST_LEDGER": "true",
        "SOMATRACE_COST_TAGS": "session_id",
    }
    gateway = start_services(processes, data, model, {**ingester.settings(), **settings})
    minutes = f"{options.minutes:g} min"
    console.print(f"sending {len(planned)} requests of {len(who)} tenants in {minutes} ...")
    answered = asyncio.run(_send(gateway, planned, options.most_in_flight))
    unexpected = [answer for answer in answered if not answer.as_expected]
    left_out = len(planned) - len(answered)
    wrong = _compare(console, _accounts(ingester, data), data / SERVED, rates)
    by_workflow: dict[str, list[float]] = {}
    for answer in answered:
        by_workflow.setdefault(answer.arrival.question.workflow, []).append(answer.seconds)
    for workflow, seconds in sorted(by_workflow.items()):
        for line in histogram.lines(workflow, seconds):
            console.print(line, markup=False)
    if left_out:
        console.print(f"not sent: {left_out} requests, since {options.most_in_flight} were in flight")
    for answer in unexpected[:MOST_LISTED]:
        console.print(
            f"unexpected: {answer.status} for {answer.arrival.request} "
            f"({answer.arrival.question.status} expected)"
        )
    return 1 if wrong or unexpected else 0


def _again(console: Console, options: argparse.Namespace) -> int:
    """Compare the store and the model server's account of an earlier run once more."""
    data = options.data_dir.resolve()
    rates = attribution.rates(options.prices)
    attribution.served(data / SERVED, rates)
    with Processes(data / "logs") as processes:
        ingester = start_ingester(processes, data)
        return 1 if _compare(console, _accounts(ingester, data), data / SERVED, rates, patience=0) else 0


def _accounts(ingester: Ingester, data: Path) -> dict[str, Config]:
    """The sources of `cost_report` that are compared: the spans that arrived, and the services' ledger."""
    return {
        "langfuse": Config(
            langfuse_host=ingester.url,
            langfuse_public_key=ingester.public_key,
            langfuse_secret_key=ingester.secret_key,
        ),
        "ledger": Config(data_dir=str(data_dir(data))),
    }


def _compare(
    console: Console,
    accounts: Mapping[str, Config],
    served_file: Path,
    rates: attribution.Rates,
    patience: float = READ_BACK_LIMIT,
) -> int:
    """Print the figures per tenant, workflow and model, and what differs; return the number of requests.

    The last calls are in the accounts a moment after the answers: each is read until it matches, or time is
    up.
    """
    deadline = time.monotonic() + patience
    wrong: set[Key] = set()
    for source, config in accounts.items():
        while True:
            served = attribution.served(served_file, rates)
            report = cost_report(attribution.BY, since="7d", source=source, max_spans=10**7, config=config)
            if report.exit_code:
                console.print(f"load: {source} could not be read as a whole: {report.reason}", markup=False)
                return 1
            reported = attribution.reported(report)
            differing = attribution.differing(served, reported)
            if not differing or time.monotonic() > deadline:
                break
            time.sleep(0.5)
        _print(console, source, served, reported, differing)
        wrong.update(differing)
    return len(wrong)


def _print(
    console: Console,
    source: str,
    served: dict[Key, Bill],
    reported: dict[Key, Bill],
    differing: Sequence[Key],
) -> None:
    if source == "langfuse" or differing:
        console.print(f"served: by the model server's account; reported: by cost_report from {source}")
        for line in attribution.table_lines(served, reported):
            console.print(line, markup=False)
    if not differing:
        console.print(f"{source}: difference 0 in calls, errors, tokens and cost, for every request")
        return
    requests = sorted({key.request or "(without a request id)" for key in differing})
    console.print(f"requests that differ: {len(requests)}")
    for key in differing[:MOST_LISTED]:
        there, here = served.get(key, Bill()), reported.get(key, Bill())
        console.print(
            f"  {key.request or key.tenant} {key.model}: served {there}, reported {here}", markup=False
        )
    if len(differing) > MOST_LISTED:
        console.print(f"  also {', '.join(requests)}", markup=False)


async def _send(gateway: str, planned: Sequence[Arrival], most: int) -> list[Answered]:
    """Send each request at its time, however late the answers of others are.

    What would make more than `most` in flight is not sent. Latencies run from the planned time on.
    """
    answered: list[Answered] = []
    limits = httpx.Limits(max_connections=None)
    async with (
        httpx.AsyncClient(
            base_url=gateway, timeout=workload.TIMEOUT, trust_env=False, limits=limits
        ) as client,
        asyncio.TaskGroup() as running,
    ):
        began = time.monotonic()
        flying: set[asyncio.Task[None]] = set()

        async def one(arrival: Arrival) -> None:
            status = 0
            try:
                asked = replace(arrival.question, text=arrival.text)
                status = (await workload.ask(client, arrival.tenant, asked, arrival.request)).status
            except httpx.HTTPError:
                pass  # no answer: status 0 is never what was expected
            answered.append(Answered(arrival, status, time.monotonic() - began - arrival.at))

        for arrival in planned:
            await asyncio.sleep(max(0.0, began + arrival.at - time.monotonic()))
            if len(flying) < most:
                task = running.create_task(one(arrival))
                flying.add(task)
                task.add_done_callback(flying.discard)
    return answered


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = _OneLineParser(prog="load", description=__doc__)
    parser.add_argument("--tenants", type=_whole(1, 1000), default=3, help="number (default %(default)s)")
    parser.add_argument(
        "--workflows",
        type=_workflows,
        default=WORKFLOWS,
        help=f"names with commas between (default {','.join(WORKFLOWS)})",
    )
    parser.add_argument(
        "--rate", type=_number(0.1, 200), default=4.0, help="requests a second (default %(default)s)"
    )
    parser.add_argument(
        "--errors",
        type=_number(0, 1),
        default=0.1,
        help="share with failing model calls (default %(default)s)",
    )
    parser.add_argument("--minutes", type=_number(0.01, 600), default=1.0, help="default %(default)s")
    parser.add_argument(
        "--most-in-flight", type=_whole(1, 10_000), default=200, help="further requests are not sent"
    )
    parser.add_argument("--prices", type=Path, default=PRICES, help="the price file")
    parser.add_argument(
        "--data-dir", type=Path, default=ROOT / ".demo", help="directory for the store (default .demo)"
    )
    parser.add_argument(
        "--again", action="store_true", help="compare the figures of an earlier run in --data-dir once more"
    )
    return parser.parse_args(argv)


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"load: {message}\n")


def _number(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {low:g} to {high:g}")
        return value

    return parse


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdecimal()) or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {low} to {high}")
        return int(text)

    return parse


def _workflows(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if not set(names) <= set(WORKFLOWS):
        raise argparse.ArgumentTypeError(f"{text!r} is not of {', '.join(WORKFLOWS)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
