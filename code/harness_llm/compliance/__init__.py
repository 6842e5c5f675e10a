"""Compliance tests of MLPerf, a class each: what LoadGen is told, the verification, and what a tree keeps."""

from __future__ import annotations

from harness_llm.compliance.audits import AUDIT_TESTS, audit_test, is_audit_name
from harness_llm.compliance.seam import AuditTest, Evidence, Recheck, TreeFile, Verification

__all__ = [
    "AUDIT_TESTS",
    "AuditTest",
    "Evidence",
    "Recheck",
    "TreeFile",
    "Verification",
    "audit_test",
    "is_audit_name",
]
