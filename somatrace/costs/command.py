"""The commands `somatrace prices` and `somatrace costs`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from somatrace.command_line import EnvFile, print_lines, settings_of, stop
from somatrace.config import Config


def prices(
    words: Annotated[
        list[str] | None, typer.Argument(help="Texts that provider and model contain, such as: openai gpt-4o")
    ] = None,
    *,
    check: Annotated[
        Path | None, typer.Option(help="Check this price file instead, and list nothing.")
    ] = None,
    unknown: Annotated[
        bool,
        typer.Option("--unknown", help="List models instead that were called without a known cost."),
    ] = False,
    since: Annotated[
        str | None,
        typer.Option(help="With --unknown: since when, such as 24h or 2026-11-01; 7d if not given."),
    ] = None,
    env_file: EnvFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of lines.")] = False,
) -> None:
    """List what calls of models cost today, or check a price file.

    With --unknown it lists models that need a price, with rows of a price file to fill in.

    Exit codes: 0 prices are listed or the file has no problem, 1 no model matches, 2 bad input, settings or
    price file; with --unknown those of `somatrace costs`.
    """
    settings = settings_of(env_file)
    if check is not None and words:
        stop("--check takes no words: it lists nothing")
    if unknown and (check is not None or words):
        stop("--unknown takes neither words nor --check")
    if since is not None and not unknown:
        stop("--since goes with --unknown")
    from somatrace.costs.period import CostQueryError
    from somatrace.costs.price_file import PriceFileError
    from somatrace.costs.price_report import CheckedFile, PriceReport, check_file, list_prices
    from somatrace.costs.unpriced_report import UnpricedReport, unpriced_report
    from somatrace.runtime.clock import clock
    from somatrace.runtime.watched_file import why_unreadable

    named = "SOMATRACE_PRICES_FILE" if check is None else "--check"
    file = check or (Path(settings.prices_file) if settings.prices_file else None)
    try:
        report: PriceReport | CheckedFile | UnpricedReport
        if check is not None:
            report = check_file(check)
        elif unknown:
            report = unpriced_report(since or "7d", file, _config(env_file))
        else:
            report = list_prices(file, words or (), clock.now().date())
    except CostQueryError as error:
        stop(f"--{error}")
    except PriceFileError as error:
        stop(f"{named}: {file}: {error}")
    except OSError as error:
        stop(f"{named}: {file}: {why_unreadable(error)}")
    print_lines([report.as_json()] if as_json else report.lines())
    raise typer.Exit(report.exit_code)


def costs(
    *,
    by: Annotated[
        str,
        typer.Option(
            help="What to sum up by, with commas between: tenant, workflow, agent, model, provider, service, "
            "day, or any attribute of the calls' spans, such as a tag that was bound: brand."
        ),
    ] = "tenant",
    since: Annotated[
        str, typer.Option(help="Span of time before now, such as 24h or 7d, or a date, such as 2026-11-01.")
    ] = "7d",
    until: Annotated[
        str | None, typer.Option(help="Like --since: the end of the period, which is not part of it.")
    ] = None,
    zone: Annotated[str, typer.Option(help="Time zone of days and of dates, such as Europe/Berlin.")] = "UTC",
    source: Annotated[
        str,
        typer.Option(
            help="langfuse, local (the store of this machine), ledger (see SOMATRACE_COST_LEDGER), or auto: "
            "where services with these settings send spans."
        ),
    ] = "auto",
    max_spans: Annotated[int, typer.Option(min=1, help="Read at most as many spans, the newest.")] = 100_000,
    env_file: EnvFile = None,
    timeout: Annotated[float, typer.Option(min=0.1, max=86400, help="Overall timeout in seconds.")] = 120,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of lines.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the rows as CSV instead of lines.")] = False,
    as_html: Annotated[bool, typer.Option("--html", help="Print an HTML page instead of lines.")] = False,
) -> None:
    """Show what model calls have cost, read back from where they are.

    Exit codes: 0 figures of the whole period, 1 no backend can be read, 2 bad input or settings, 3 figures of
    a part of the period.
    """
    settings_of(env_file)
    if as_json + as_csv + as_html > 1:
        stop("--json, --csv and --html exclude each other")
    from somatrace.costs import cost_report
    from somatrace.costs.period import CostQueryError

    try:
        report = cost_report(
            by,
            since,
            until,
            source,
            zone=zone,
            max_spans=max_spans,
            timeout=timeout,
            config=_config(env_file),
        )
    except CostQueryError as error:
        stop(f"--{error}")
    if as_csv:
        print_lines(report.as_csv().split("\n")[:-1])
        for remark in report.remarks():
            typer.echo(remark, err=True)
    else:
        whole = report.as_json() if as_json else report.as_html() if as_html else None
        print_lines(report.lines() if whole is None else [whole])
    raise typer.Exit(report.exit_code)


def _config(env_file: Path | None) -> Config | None:
    return Config(env_file=str(env_file)) if env_file else None
