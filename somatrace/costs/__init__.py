"""Prices of model calls: what the counts of a call cost. Plain Python, without the network."""
