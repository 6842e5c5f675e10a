"""Data sets: every kind becomes one immutable `SampleTable`, checked before anything starts.

What is exported here is light, for the loadgen process; `kinds` has the loaders.
"""

from __future__ import annotations

from harness_llm.datasets.fit import validate_fit
from harness_llm.datasets.table import SampleTable

__all__ = ["SampleTable", "validate_fit"]
