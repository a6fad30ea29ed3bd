"""Replacing detected values with markers or keyed pseudonyms."""
