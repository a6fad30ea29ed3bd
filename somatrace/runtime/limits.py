"""Time limits that several packages share."""

from __future__ import annotations

from typing import Final

#: Seconds that shutting down a provider or the process may take, whatever the target does: the end of the
#: interpreter itself fits into the rest of one second.
EXIT_LIMIT: Final = 0.9
#: Seconds before these that an exit waits for imports: on a busy machine a short program needs some.
LOAD_LIMIT: Final = 5.0
