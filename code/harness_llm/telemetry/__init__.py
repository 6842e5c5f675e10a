"""What accelerators do while a run lasts: a process of its own samples them, 10 times a second.

Others take what it found from the records of live.jsonl (`results.live_file.read_live`) and, as energy of a
stretch of time, from `results.energy`; a command with children of its own starts it by `Watch.sample`.
"""
