"""A child that never speaks, such as a telemetry sampler: its spec is the file to which it appends times."""

import sys
import time
from pathlib import Path

if __name__ == "__main__":
    while True:
        with Path(sys.argv[1]).open("a") as file:
            file.write(f"{time.monotonic_ns()}\n")
        time.sleep(0.05)
