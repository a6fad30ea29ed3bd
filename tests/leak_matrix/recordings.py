"""The recordings: what each library's instrumentor really produced, one file per library."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).resolve().parent / "recordings"
SCOPES: Final = FOLDER / "scopes.txt"
Json = dict[str, Any]

#: Ids, times, hashes and numbers, which differ between two runs.
_VARIABLE: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{16,}|[0-9]+")


def names() -> list[str]:
    """The libraries with a recording."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def read(library: str) -> Json:
    recording: Json = json.loads((FOLDER / f"{library}.json").read_text())
    return recording


def write(library: str, recording: Json) -> None:
    """One line per span, so that changes can be reviewed."""
    lines = ["{", f'"releases": {_dump(recording["releases"])},', '"cases": [']
    for case in recording["cases"]:
        lines.append(f'{{"name": {_dump(case["name"])}, "shown": {_dump(case["shown"])},')
        for kind, end in (("spans", "],"), ("requests", "]}")):
            lines += [f'"{kind}": [', ",\n".join(map(_dump, case[kind])), end]
        lines[-1] += "," if case is not recording["cases"][-1] else ""
    (FOLDER / f"{library}.json").write_text("\n".join([*lines, "]", "}", ""]))


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def scope_table(libraries: Iterable[str]) -> list[str]:
    """A line for each library and scope: what the registry of libraries is compared with."""
    return [f"{library} {scope}" for library in libraries for scope in sorted(scopes(read(library)))]


def scopes(recording: Json) -> set[str]:
    return {span["scope"][0] for case in recording["cases"] for span in case["spans"]}


def shape(recording: Json) -> list[str]:
    """What must be the same in each run: scopes, names, keys and headers, without ids, times and order."""
    lines = []
    for case in recording["cases"]:
        spans = sorted({_span(span) for span in case["spans"]})
        requests = sorted({_request(request) for request in case["requests"]})
        lines += [f"{case['name']}: {line}" for line in (*spans, *requests)]
    return lines


def _span(span: Json) -> str:
    end = span.get("end", {})
    keys = {_VARIABLE.sub("#", key) for key in (*span["attributes"], *end.get("attributes", ()))}
    events = {f"{name} {sorted(attributes)}" for name, attributes in end.get("events", ())}
    name = _VARIABLE.sub("#", end.get("name", span["name"]))
    status = end.get("status", ["not ended"])[0]
    return f"span {span['scope'][0]} {span['kind']} {name!r} {status} {sorted(keys)} {sorted(events)}"


def _request(request: Json) -> str:
    target = _VARIABLE.sub("#", request["target"])
    within = "within a span" if request["span"] is not None else "without a span"
    sender = f"{request['library']} by {request['transport']}"
    return f"request {request['method']} {target} {sender} {within} {request['headers']}"
