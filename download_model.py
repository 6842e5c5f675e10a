#!/usr/bin/env python3
"""Get a model or a data set: `python download_model.py --help` says which and to where."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "code"))


def run() -> int:
    """Run the command, in the project's own environment where this Python lacks the packages."""
    try:
        from harness_llm.fetch.command import main
    except ImportError as error:
        python = Path(os.environ.get("HARNESS_VENV", ROOT / ".venv")) / "bin" / "python"
        if python.is_file() and Path(sys.prefix) != python.parent.parent:
            os.execv(python, [str(python), *sys.argv])
        print(
            f"error: this Python ({sys.executable}) cannot run it: {error}\n"
            "  remedy: Set up the project's environment first: "
            "bash -c 'source setup/environment.sh && prepare_environment'",
            file=sys.stderr,
        )
        return 2
    return main()


if __name__ == "__main__":
    sys.exit(run())
