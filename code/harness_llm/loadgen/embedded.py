"""What LoadGen makes of its mlperf.conf and a user.conf, in a process of its own.

`… MODEL SCENARIO [FILE]` prints it as JSON.

LoadGen reads a configuration once a process, so whoever only wants to know must not be the one that runs.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from harness_llm.core import Mode, Scenario
from harness_llm.loadgen import lib


def main() -> None:
    """Print the fields of TestSettings for a model, a scenario and a user.conf, by default an empty one."""
    model, scenario, *files = sys.argv[1:]
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as empty:
        file = Path(files[0] if files else empty.name)
        settings = lib.make_settings(model, Scenario(scenario), Mode.PERFORMANCE, file)
    # LoadGen may write to stdout itself: ours is the last line.
    sys.stdout.write("\n" + json.dumps(lib.settings_fields(settings)) + "\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
