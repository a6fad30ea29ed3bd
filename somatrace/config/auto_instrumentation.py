"""Keep `opentelemetry-instrument` from fetching litellm's price table before the program starts.

It loads every installed instrumentor. That of litellm imports litellm, which fetches the table on import.
These are entry points that `opentelemetry-instrument` calls before and after.
"""

from __future__ import annotations

import os
from typing import Final

#: litellm then uses the table in its own package.
_LOCAL_PRICES: Final = "LITELLM_LOCAL_MODEL_COST_MAP"
_changed: list[str] = []


def before() -> None:
    """Set litellm's setting for the imports of the instrumentors, unless the user has."""
    if _LOCAL_PRICES not in os.environ:
        _changed.append(_LOCAL_PRICES)
        os.environ[_LOCAL_PRICES] = "True"


def after() -> None:
    """Remove the setting again: the program and its child processes decide for themselves."""
    while _changed:
        os.environ.pop(_changed.pop(), None)
