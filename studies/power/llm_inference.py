"""The inference part of the experiments alone; the options are those of run_experiments.py."""

import sys

from gpu_metrics_utils import run_study

if __name__ == "__main__":
    run_study(sys.argv[1:], "--set", "phases=[inference]")
