"""The engines of a run: loaded once, measured test by test."""
