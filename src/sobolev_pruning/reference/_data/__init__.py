"""References that are data: arrays, files on disk."""
