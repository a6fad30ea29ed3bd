"""The detectors: one module per family of sensitive values."""
