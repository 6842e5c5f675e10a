#!/usr/bin/env python3
"""Report and plots of an experiment: analyze.py CONFIG|FOLDER; plots go to plots/<experiment>/."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from multitenant import analyze

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} CONFIG|FOLDER")
    from harness_llm.cli.output import reported_errors

    with reported_errors():
        print("\n".join(analyze(sys.argv[1])))
