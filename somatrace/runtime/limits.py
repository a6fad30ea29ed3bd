"""Time limits that several packages share."""

from __future__ import annotations

from typing import Final

#: Seconds that shutting down a provider or the process may take, whatever the target does.
EXIT_LIMIT: Final = 1.0
