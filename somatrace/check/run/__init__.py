"""Abstract interpretation of a process's start-up: its calls, their certainty and order."""
