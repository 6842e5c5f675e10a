"""The supervisor: run folders, child processes, live view."""
