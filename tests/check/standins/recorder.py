"""What happened in a started process, in order: written down when it serves and when it ends."""

from __future__ import annotations

import atexit
import json
import os
import threading
from pathlib import Path

_events: list[str] = []


def note(event: str) -> None:
    """Remember an event; a forked child goes on with its parent's."""
    if threading.current_thread() is not threading.main_thread() and event == "init":
        event = "late"
    _events.append(event)


def init(*_: object, **__: object) -> None:
    note("init")


def serving() -> None:
    """The process serves now."""
    _events.append("serving")
    written()


def written() -> None:
    """Write down what has happened so far."""
    folder = os.environ.get("RECORD_TO")
    if folder:
        draft = Path(folder, f"{os.getpid()}.draft")
        draft.write_text(json.dumps({"events": _events}))
        draft.replace(
            draft.with_suffix(".json")
        )  # it appears whole: others wait for it and then end this one


atexit.register(written)
