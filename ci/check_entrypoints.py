"""Run `somatrace check` as a plain script in a build: fail if a service would run untraced.

    python ci/check_entrypoints.py [PATH] [--format sarif]

It requires only somatrace itself: no extras, no OpenTelemetry, and none of the checked code's dependencies.
"""

from __future__ import annotations

import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent
if (SOURCE / "somatrace" / "check").is_dir():
    sys.path.insert(0, str(SOURCE))

from somatrace.check.command import main  # noqa: E402 - importable only after the path change above

if __name__ == "__main__":
    raise SystemExit(main())
