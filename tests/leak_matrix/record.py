"""Run the libraries that have recordings, and compare what their instrumentors do with the recordings.

    python -m tests.leak_matrix.record [--update | --guarded] [--environments DIRECTORY] [library ...]

Each library runs in the environment of its group's lock, `ci/locks/matrix-<group>.lock`, made in a scratch
directory (kept if one is given). `--update` rewrites the recordings instead. `--guarded` runs the libraries
with somatrace and searches its outputs, as the leak matrix does with those of the common environment.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.leak_matrix import recordings
from tests.leak_matrix.rows import RECORDED
from tests.leak_matrix.support import run

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.leak_matrix.record", description=__doc__)
    parser.add_argument("libraries", nargs="*", metavar="library", help=", ".join(RECORDED))
    parser.add_argument("--update", action="store_true", help="rewrite the recordings")
    parser.add_argument("--environments", type=Path, help="where the environments are made and kept")
    parser.add_argument("--guarded", action="store_true", help="run with somatrace and search for leaks")
    options = parser.parse_args()
    unknown = set(options.libraries) - set(RECORDED)
    if unknown:
        parser.error(f"no such library: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as scratch:
        environments = (options.environments or Path(scratch) / "environments").absolute()
        wrong = []
        for library in options.libraries or RECORDED:
            python = _environment(RECORDED[library], environments)
            directory = Path(scratch) / library
            directory.mkdir()
            if not (
                clean(library, python, directory)
                if options.guarded
                else same(library, python, directory, update=options.update)
            ):
                wrong.append(library)
    if options.update:
        recordings.SCOPES.write_text("\n".join([*recordings.scope_table(RECORDED), ""]))
    if wrong:
        print(f"not as expected: {', '.join(wrong)}", file=sys.stderr)
    return int(bool(wrong))


def clean(library: str, python: Path, directory: Path) -> bool:
    """Run a library with somatrace and print what its outputs hold but must not, and the reverse."""
    done = run(f"live:{library}", directory, "after", python=python, HOME=str(directory), **_quiet())
    # libraries log failures with content there, with and without somatrace
    found = [str(leak) for leak in done.leaks() if leak.place != "stderr"]
    found += [f"a request has {told}" for told in done.told()]
    found += [f"missing under {mode}: {one}" for mode in ("redacted", "full") for one in done.missing(mode)]
    print("\n".join([f"{library}: {'not clean' if found else 'clean'}, {len(done.spans)} spans", *found]))
    return not found


def same(library: str, python: Path, directory: Path, *, update: bool) -> bool:
    """Run a library and compare it with its recording, or rewrite that."""
    file = directory / "recording.json"
    done = subprocess.run(
        [python, "-m", "tests.leak_matrix.capture", library, file],
        env={**_quiet(), "HOME": str(directory), "PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
        cwd=ROOT,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=300,
        check=False,
    )
    if done.returncode:
        print(f"{library} failed:\n{done.stderr.decode(errors='replace')[-3000:]}", file=sys.stderr)
        return False
    live = json.loads(file.read_text())
    if update:
        recordings.write(library, live)
        print(f"{library}: recorded, {sum(len(case['spans']) for case in live['cases'])} spans")
        return True
    lines = list(_differences(recordings.read(library), live))
    print("\n".join([f"{library}: {'different' if lines else 'the same'}", *lines]))
    return not lines


def _differences(recorded: recordings.Json, live: recordings.Json) -> list[str]:
    both = recordings.shape(recorded), recordings.shape(live)
    lines = difflib.unified_diff(*both, "recorded", "live", n=0, lineterm="")
    changed = [
        f"release of {k}: {v}" for k, v in live["releases"].items() if recorded["releases"].get(k) != v
    ]
    return [*changed, *lines]


def _quiet() -> dict[str, str]:
    """Settings with which the libraries stay on this machine."""
    return {
        "ANONYMIZED_TELEMETRY": "false",
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_SECRET_ACCESS_KEY": "none",
        "CREWAI_DISABLE_TELEMETRY": "true",
        "CREWAI_DISABLE_TRACKING": "true",
        "HAYSTACK_TELEMETRY_ENABLED": "false",
        "OPENAI_AGENTS_DISABLE_TRACING": "",
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_AND_EVENT",
        "OTEL_SEMCONV_STABILITY_OPT_IN": "gen_ai_latest_experimental",
        "PYTHONWARNINGS": "ignore",
    }


def _environment(group: str, where: Path) -> Path:
    """The interpreter of a group's environment, which is made if it does not exist."""
    python = where / group / "bin" / "python"
    if not python.exists():
        print(f"installing ci/locks/matrix-{group}.lock into {where / group}")
        subprocess.run([sys.executable, "-m", "venv", where / group], check=True)
        lock = ROOT / "ci" / "locks" / f"matrix-{group}.lock"
        subprocess.run(
            [python, "-m", "pip", "install", "-qq", "--require-hashes", "--no-deps", "-r", lock], check=True
        )
    return python


if __name__ == "__main__":
    sys.exit(main())
