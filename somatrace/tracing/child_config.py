"""Pass a `Config` that was given in code to a child process.

Its fields are pickled one by one, so that one that cannot be pickled does not keep the child untraced.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

from somatrace.config import Config

log = logging.getLogger("somatrace")


def pickled(config: Config | None) -> dict[str, bytes | None]:
    """The fields that are set, each pickled by itself; None for one that cannot be."""
    if config is None:
        return {}
    given = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    return {name: _pickled(value) for name, value in given.items() if value is not None}


def restored(fields: Mapping[str, bytes | None]) -> tuple[Config | None, tuple[str, ...]]:
    """The `Config` again, and a problem for each field that is missing from it."""
    import pickle  # only where there is a `Config`

    given: dict[str, Any] = {}
    problems: list[str] = []
    for name, data in fields.items():
        try:
            given[name] = pickle.loads(data or b"")  # noqa: S301 - made by the parent, through its pipe
        except Exception:
            advice = "use plain data, or a function of a module"
            problems.append(f"{name} cannot be passed on to this child process: {advice}")
            if name == "content_policy":  # it might be stricter than the other settings
                given["content"] = "never"
    return (Config(**given) if given else None), tuple(problems)


def _pickled(value: Any) -> bytes | None:
    return _dumped(value) or _dumped(_plain(value))


def _dumped(value: Any) -> bytes | None:
    import pickle

    try:
        return pickle.dumps(value)
    except Exception as error:
        log.debug("a setting cannot be pickled: %s", type(error).__name__)
        return None


def _plain(value: Any) -> Any:
    """Mappings and lists of any type as built-in ones, which can be pickled."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, (list, tuple)) else value
