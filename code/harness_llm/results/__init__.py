"""The run folder: its files, their records, its lock."""
