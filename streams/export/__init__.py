"""Windows as they were known at a time, as flat files: what `tickertone export` does."""
