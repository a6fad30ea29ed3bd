"""The pages: URLs in, HTML out."""
