"""`python -m somatrace.check`: the check without any extra installed."""

from somatrace.check.command import main

if __name__ == "__main__":
    raise SystemExit(main())
