"""A study of power: caps or loads, energy per token, and a setting to recommend; nothing is set unasked."""
