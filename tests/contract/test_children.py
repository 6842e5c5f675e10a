"""Who a child is says its role; the source is read, nothing is imported."""

from __future__ import annotations

import re
from pathlib import Path

from harness_llm.fleet.roles import LOADGEN, REPLICA

PACKAGE = Path(__file__).parents[2] / "code" / "harness_llm"
SOURCES = {str(path.relative_to(PACKAGE)): path.read_text("utf-8") for path in PACKAGE.rglob("*.py")}
KINDS = "(loadgen|replica|sampler)"
BY_NAME = re.compile(
    rf"""(startswith|removeprefix|partition|match)\(\s*f?["']{KINDS}|["']{KINDS}-?["'] in """
)


def test_nothing_is_decided_by_a_childs_name() -> None:
    assert len(SOURCES) > 100
    assert BY_NAME.search('name.removeprefix("replica-")') and BY_NAME.search('if "loadgen-" in name')
    assert not [name for name, text in SOURCES.items() if BY_NAME.search(text)]


def test_only_the_local_launcher_touches_a_process() -> None:
    """The one that is no child of a command is NVIDIA's daemon, which its keeper starts and ends."""
    found = {name for name, text in SOURCES.items() if "Popen" in text}
    assert found == {"launch/local.py", "tenants/mps_keeper.py"}


def test_a_roles_module_is_there() -> None:
    for role in (REPLICA, LOADGEN):
        assert role.module.replace(".", "/").removeprefix("harness_llm/") + ".py" in SOURCES
