#!/usr/bin/env python3
"""Get a model or a data set, which is `harness-llm fetch`: `python download_model.py --help` says how."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "code"))


def run() -> int:
    """Run the command, in the project's own environment where this Python lacks the packages."""
    try:
        from harness_llm.cli import main
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
    sys.argv.insert(1, "fetch")
    main()
    return 0


if __name__ == "__main__":
    sys.exit(run())
