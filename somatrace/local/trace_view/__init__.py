"""A trace as a tree with a timeline, with bounded output for traces of any size."""
