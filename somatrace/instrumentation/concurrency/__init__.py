"""Context across threads, child processes and task queues, and a flush when a server exits."""
