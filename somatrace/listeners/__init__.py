"""Listeners and the stream of `Record`s they receive."""
