"""Run `somatrace check` as a plain script in a build: fail if a service would run untraced.

    python ci/check_entrypoints.py [PATH] [--format sarif]

It requires only somatrace itself: no extras, no OpenTelemetry, and none of the checked code's dependencies.
"""

import os
import sys

SOURCE = os.path.realpath(f"{__file__}/../..")
if os.access(f"{SOURCE}/somatrace/check", os.F_OK):
    sys.path.insert(0, SOURCE)

from somatrace.check.python_version import require_python  # noqa: E402 - after the path change above

require_python()

from somatrace.check.import_path import drop_working_directory  # noqa: E402 - needs this Python

drop_working_directory()

from somatrace.check.command import main  # noqa: E402 - importable only after the path change above

if __name__ == "__main__":
    raise SystemExit(main())
