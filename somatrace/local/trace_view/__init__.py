"""One trace as a tree with a timeline, bounded for any size."""
