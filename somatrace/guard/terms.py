"""Detectors for custom terms: a dictionary of terms, or a pattern that provably takes linear time."""

from __future__ import annotations

from somatrace.guard.detection.detectors.own_terms import dictionary, pattern

__all__ = ["dictionary", "pattern"]
