"""Context across threads, child processes, task queues and server exits."""
