"""`python -m somatrace.modelserver`: serve on loopback and print the URL in one line when ready."""

from __future__ import annotations

import argparse
import os
import re
import socket
import sys
from pathlib import Path

import uvicorn

from somatrace.modelserver.app import create_app
from somatrace.modelserver.served import ServedCalls


def main(argv: list[str] | None = None) -> int:
    """Serve until interrupted. Returns the exit code: 2 for invalid input."""
    options = _options(argv)
    try:
        api_key = options.api_key_file.read_text(encoding="utf-8").strip() if options.api_key_file else None
        served = ServedCalls(options.served_file, options.label) if options.served_file else None
        listener = _listener(options.port)
    except re.error as error:
        return _invalid(f"--label is not a regular expression: {error}")
    except (OSError, OverflowError, ValueError) as error:
        return _invalid(f"{error}; choose another --port, --api-key-file or --served-file")
    if api_key == "":
        return _invalid("the --api-key-file is empty: write a key into it")
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    app = create_app(api_key=api_key, slow_seconds=options.slow_seconds, served=served)
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
    # the listener queues connections from here on, so the URL can be announced before the loop runs
    sys.stdout.write(f"somatrace.modelserver: local-extractive at {url}/v1\n")
    sys.stdout.flush()
    if options.ready_file:
        _write_atomically(options.ready_file, url + "\n")
    uvicorn.Server(config).run(sockets=[listener])
    return 0


def _invalid(reason: str) -> int:
    sys.stderr.write(f"somatrace.modelserver: {reason}\n")
    return 2


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m somatrace.modelserver", description=__doc__)
    parser.add_argument(
        "--port", type=int, default=8400, help="port to listen on; 0 picks a free one (default %(default)s)"
    )
    parser.add_argument("--ready-file", type=Path, help="file to write the URL to when ready")
    parser.add_argument("--api-key-file", type=Path, help="require the key in this file as a bearer token")
    parser.add_argument(
        "--slow-seconds", type=float, default=1.0, help="delay of local-extractive-slow, in seconds"
    )
    parser.add_argument(
        "--served-file",
        type=Path,
        help="append a JSON line to this file for each call: tokens, status, label",
    )
    parser.add_argument(
        "--label", default="$^", help="regular expression of the part of a request that is a line's label"
    )
    return parser.parse_args(argv)


def _listener(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    return listener


def _write_atomically(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


if __name__ == "__main__":
    sys.exit(main())
