"""How far a drain has come, for a person at a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

#: For one service and its number of spans: a function that is called with the number done.
Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


@contextmanager
def silent(_name: str, _spans: int) -> Iterator[Callable[[int], None]]:
    """Show nothing."""
    yield lambda _done: None


@contextmanager
def bar(name: str, spans: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, which vanishes when the service is done."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(escape(name), total=spans)
        yield lambda done: bars.update(task, completed=done)
