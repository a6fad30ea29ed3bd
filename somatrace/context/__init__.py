"""Tags, per-span state, and the blocks that carry them through functions and generators."""
