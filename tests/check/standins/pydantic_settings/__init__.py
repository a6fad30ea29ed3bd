import os


class BaseSettings:
    """Settings from the environment, as far as these trees need them."""

    def __init__(self):
        for name in type(self).__annotations__:
            if name.upper() in os.environ:
                setattr(self, name, os.environ[name.upper()] not in {"", "0"})
