"""Runs held against one another: what differs in what was run, and which numbers differ beyond chance."""
