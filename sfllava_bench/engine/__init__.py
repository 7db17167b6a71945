"""Many models at work at once, on one machine or many: the same records, written by one process (docs/scale.md)."""
