"""Running safely inside a host process: background worker, fork handling, fault isolation."""
