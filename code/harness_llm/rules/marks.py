"""What must stand beside a number that is no MLPerf result: `package` writes it, `check` finds it."""

from __future__ import annotations

__all__ = ["SIMULATED", "UNOFFICIAL"]

SIMULATED = "simulated, not a result"
"""The answers were made up by the simulated engine."""

UNOFFICIAL = "unofficial: no result of an MLPerf benchmark"
"""The benchmark is none of MLPerf's, or was not run as the rules ask."""
