"""Every compliance test that this harness can run, by its name."""

import re

from harness_llm import rules
from harness_llm.compliance.seam import AuditTest
from harness_llm.compliance.test06 import Test06
from harness_llm.compliance.test07 import Test07
from harness_llm.compliance.test09 import Test09

AUDIT_TESTS: dict[str, AuditTest] = {test.name: test for test in (Test06(), Test07(), Test09())}
"""In the order of their numbers; the rules table has a row for each."""

_NAME = re.compile(r"TEST\d+\w*")


def audit_test(name: str) -> AuditTest:
    """One compliance test by its name.

    Raises:
        ConfigError: There is no such test; names all tests, for a mistyped `performance` ends up here.
    """
    rules.compliance_test(name)
    return AUDIT_TESTS[name]


def is_audit_name(name: str) -> bool:
    """Whether a folder is called like a compliance test of MLPerf, of this harness or not."""
    return _NAME.match(name) is not None
