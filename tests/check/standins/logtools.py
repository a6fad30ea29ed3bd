def init_tracing(*args, **kwargs):
    """Another library's."""
