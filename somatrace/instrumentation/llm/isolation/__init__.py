"""Isolate the instrumentors' code: the program's calls, answers and exceptions stay as they are."""
