def bootstrap(name):
    """Nobody knows."""
