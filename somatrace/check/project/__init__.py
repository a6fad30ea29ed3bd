"""Reading a source tree safely: files, Python modules, YAML."""
