"""A run from configuration to scored tests: prepare and check everything, then measure, then score."""
