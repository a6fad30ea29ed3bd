"""`somatrace check` as a plain script, for a build: fails when a service would run untraced.

    python ci/check_entrypoints.py [PATH] [--format sarif]

It needs nothing but somatrace itself: neither an extra, nor OpenTelemetry, nor what it checks.
"""

from __future__ import annotations

import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent
if (SOURCE / "somatrace" / "check").is_dir():
    sys.path.insert(0, str(SOURCE))

from somatrace.check.command import main  # noqa: E402 -- in a checkout it is found only now

if __name__ == "__main__":
    raise SystemExit(main())
