"""`python -I -m somatrace.check`: the check without any extra installed."""

from somatrace.check.python_version import require_python

require_python()

from somatrace.check.import_path import drop_working_directory  # noqa: E402 - needs this Python

drop_working_directory()

from somatrace.check.command import main  # noqa: E402 - the line above comes before any other import

if __name__ == "__main__":
    raise SystemExit(main())
