from recorder import init as init_tracing  # noqa: F401
