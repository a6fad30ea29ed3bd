import os

if os.environ.get("WITHOUT_SOMATRACE"):
    raise ImportError("somatrace")

from recorder import init as init_tracing  # noqa: F401
