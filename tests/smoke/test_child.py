"""What the child process of smoke leaves in its directory, read while it still runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from somatrace.smoke.child import SENT

EXPORT_BYTES = 5_000

SENDS_FOR_EVER = f"""
import sys
from pathlib import Path
from somatrace.delivery.send_result import accepted
from somatrace.smoke.child import RecordingTransport

class Target:
    def send(self, body, timeout):
        return accepted(b"")

transport = RecordingTransport(Target(), Path(sys.argv[1]), [])
while True:
    transport.send(b"x" * {EXPORT_BYTES}, 1.0)
"""


def test_exports_recorded_while_the_parent_reads_are_whole(tmp_path: Path) -> None:
    sizes: list[int] = []
    with subprocess.Popen([sys.executable, "-c", SENDS_FOR_EVER, str(tmp_path)]) as process:
        try:
            while len(sizes) < 3_000 and process.poll() is None:
                for file in tmp_path.glob(f"*{SENT}"):
                    sizes.append(len(file.read_bytes()))
                    file.unlink()
        finally:
            process.kill()

    assert len(sizes) >= 3_000
    assert set(sizes) == {EXPORT_BYTES}
