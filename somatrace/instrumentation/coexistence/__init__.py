"""Running beside other tracing libraries in the same process."""
