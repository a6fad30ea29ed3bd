"""`somatrace` and `python -m somatrace`: the commands, or one line on how to get them."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; without the extra `cli`, say how to install it (exit code 2)."""
    try:
        from somatrace.cli import app
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich", "click"):
            raise
        sys.stderr.write("somatrace: the commands need `pip install 'somatrace[cli,local]'`\n")
        raise SystemExit(2) from None
    app(prog_name="somatrace")


if __name__ == "__main__":
    main()
