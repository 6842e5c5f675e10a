"""Measure inference and training; with `--gpu simulated` at caps of a simulated card.

`--knob load` sweeps load; `--knob cap --set-caps` sets power caps, on a card that is yours, and gives them
back. `--values 300,500` says which.
"""

import sys

from gpu_metrics_utils import run_study

if __name__ == "__main__":
    run_study(sys.argv[1:])
