"""Benchmark `somatrace check` on a generated monorepo: cold and warm time, memory, and ruff for comparison.

Times are elapsed and CPU seconds; on a busy machine, rely on CPU seconds.

python benchmarks/check.py [--services 2000] [--files 100000] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

SHAPES = 4
MODULE = '''"""{title} of {service}."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from typing import Any

from app.{other} import {other_name}

logger = logging.getLogger(__name__)


@dataclass
class {title}:
    """One {name}."""

    key: str
    parts: list[str] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)

    def render(self) -> str:
        lines = [self.key]
        for number, part in enumerate(self.parts):
            if part and not part.startswith("#"):
                lines.append(f"{{number}}: {{part}}")
        return "\\n".join(lines)

    def merge(self, other: {title}) -> {title}:
        return {title}(self.key, [*self.parts, *other.parts], {{**self.extra, **other.extra}})


def load(text: str) -> list[{title}]:
    found = []
    for entry in json.loads(text):
        try:
            found.append({title}(entry["key"], entry.get("parts", [])))
        except KeyError:
            logger.warning("an entry without a key")
    return found


def describe(value: {title}) -> str:
    return {other_name}(value.render())
'''
LEAF = '''"""Text helpers of {service}."""

import re

SPACES = re.compile(r"\\s+")


def tidy(text: str) -> str:
    """One line."""
    return SPACES.sub(" ", text).strip()
'''
NAMES = ["orders", "quotes", "passages", "answers", "tools", "prompts", "limits", "callers", "tenants"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", type=int, default=2000)
    parser.add_argument("--files", type=int, default=100_000, help="additional files besides one service")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        report = measure(Path(place), given.services, given.files)
    for name, value in report.items():
        print(f"{name:28} {value}")
    if given.json:
        given.json.write_text(json.dumps(report))
    return 0


def measure(place: Path, services: int, others: int) -> dict[str, float | int | str]:
    tree = place / "tree"
    files = generate(tree, services)
    large = place / "large"
    generate(large, 1)
    (large / "services/service-0000/app/tidy.py").write_text(LEAF + generated(5_000_000))
    wide = place / "wide"
    generate_wide(wide, others)
    cold = timed(tree)
    warm = timed(tree)
    one = timed(tree / "services/service-0000", "--no-cache")
    big = timed(large, "--no-cache")
    hundred = timed(wide, "--no-cache")
    ruff = timed(tree, program=[sys.executable, "-m", "ruff", "check", "--no-cache", "-q", "--exit-zero"])
    runs = {
        "cold": cold,
        "warm": warm,
        "one service": one,
        "5 MB generated file": big,
        f"{others} files": hundred,
        "ruff check --no-cache": ruff,
    }
    report: dict[str, float | int | str] = {"services": services, "files": files, "said": cold.last_line}
    for name, run in runs.items():
        report[f"{name} s"] = round(run.elapsed, 3)
        report[f"{name} CPU s"] = round(run.cpu, 3)
    report["cold MB, largest process"] = round(cold.megabytes)
    report["ratio cold to ruff, CPU"] = round(cold.cpu / ruff.cpu, 2)
    return report


def generate_wide(tree: Path, files: int) -> None:
    """Write one service and `files` other files, as in a large repository."""
    generate(tree, 1)
    for number in range(files):
        folder = tree / f"data/part-{number // 500:04}"
        if number % 500 == 0:
            folder.mkdir(parents=True)
        (folder / f"module_{number}.py").write_text(f"VALUE = {number}\n")


def generate(tree: Path, services: int) -> int:
    """Write a monorepo whose services differ slightly in their launch command and tracing call."""
    for number in range(services):
        service(tree / f"services/service-{number:04}", number)
    return sum(1 for _ in tree.rglob("*.*")) + services


def service(folder: Path, number: int) -> None:
    name = folder.name
    app = folder / "app"
    app.mkdir(parents=True)
    (app / "__init__.py").write_text("")
    (app / "tidy.py").write_text(LEAF.format(service=name))
    for index, module in enumerate(NAMES):
        last = index + 1 == len(NAMES)
        other, other_name = ("tidy", "tidy") if last else (NAMES[index + 1], "describe")
        text = MODULE.format(
            title=module.title(), name=module, service=name, other=other, other_name=other_name
        )
        (app / f"{module}.py").write_text(text)
    (app / "tracing.py").write_text(
        f'from somatrace import init_tracing\n\n\ndef begin() -> None:\n    init_tracing("{name}")\n'
    )
    called = "from app.tracing import begin\n\nbegin()\n"
    direct = f'from somatrace import init_tracing\n\ninit_tracing("{name}")\n'
    imports = "import openai\nfrom fastapi import FastAPI\n\nfrom app.orders import describe, load\n"
    client = "app = FastAPI()\nclient = openai.AsyncOpenAI()\n"
    route = (
        '\n\n@app.get("/")\nasync def read() -> list[str]:\n'
        '    return [describe(one) for one in load("[]")]\n'
    )
    (app / "main.py").write_text(imports + (called if number % 2 else direct) + client + route)
    commands = (
        'CMD ["uvicorn", "app.main:app"]',
        "CMD uvicorn app.main:app --workers 4",
        'ENTRYPOINT ["gunicorn", "-k", "uvicorn.workers.UvicornWorker"]\nCMD ["app.main:app"]',
        'CMD ["python", "-m", "uvicorn", "app.main:app"]',
    )
    text = f"FROM python:3.12-slim\nWORKDIR /srv\nCOPY . .\n{commands[number % SHAPES]}\n"
    (folder / "Dockerfile").write_text(text)


def generated(size: int) -> str:
    line = '    "key_{0}": ("value {0}", {0}, [1, 2, 3]),\n'
    count = size // len(line.format(100_000))
    return "\nTABLE = {\n" + "".join(line.format(number) for number in range(count)) + "}\n"


@dataclass(frozen=True)
class Timed:
    """One run of a program: seconds, peak memory in MB, and its last line of output."""

    elapsed: float
    cpu: float
    megabytes: float
    last_line: str


def timed(folder: Path, *arguments: str, program: list[str] | None = None) -> Timed:
    command = [*(program or [sys.executable, "-m", "somatrace.check"]), str(folder), *arguments]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    output = process.stdout.read() if process.stdout else ""
    _, _, usage = os.wait4(process.pid, 0)
    return Timed(
        time.perf_counter() - began,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss / 1024,
        output.strip().rpartition("\n")[2],
    )


if __name__ == "__main__":
    raise SystemExit(main())
