"""Files of guarded spans that wait on disk: segments of records, each one whole encoded batch.

`segment_writer` appends to them, `segment_reader` reads them back, `spool_directory` finds, counts and
limits them. Nothing here knows what a record contains.
"""
