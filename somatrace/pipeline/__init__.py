"""The span pipeline: tags at the start, the guard at the end, then delivery."""
