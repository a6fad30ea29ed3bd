"""Safe reading of a source tree: files, Python modules, YAML."""
