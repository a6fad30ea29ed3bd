"""An abstract run of one process: what its start-up calls, how certainly, and in which order."""
