"""What accelerators do while a run lasts: a process of its own samples them, 10 times a second."""
