"""What the mlperf.conf inside LoadGen says, asked in a process of its own: `… MODEL SCENARIO…` prints JSON.

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
    """Print the fields of TestSettings for a model and scenario, with an empty user.conf, as JSON."""
    model, scenario = sys.argv[1:]
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as empty:
        settings = lib.make_settings(model, Scenario(scenario), Mode.PERFORMANCE, Path(empty.name))
    # LoadGen may write to stdout itself: ours is the last line.
    sys.stdout.write("\n" + json.dumps(lib.settings_fields(settings)) + "\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
