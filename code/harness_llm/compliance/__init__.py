"""Compliance tests of MLPerf: what LoadGen is told for them, and their verification."""

from __future__ import annotations

from harness_llm.compliance.audit import audit_config
from harness_llm.compliance.verify import Verification, verify

__all__ = ["Verification", "audit_config", "verify"]
