"""docs/adding-a-child-process.md, followed to the letter."""

from __future__ import annotations

import re
import time
from pathlib import Path

import psutil

from harness_llm.core import GenerationLimits, Mode, Scenario
from harness_llm.datasets.synthetic import load_synthetic
from harness_llm.fleet.fleet import FleetPlan, ReplicaPlan
from harness_llm.fleet.watch import Watch
from harness_llm.launch.role import Role
from harness_llm.transport.spec import LoadgenTest
from harness_llm.views.live import PlainView

PAGE = (Path(__file__).parents[2] / "docs" / "adding-a-child-process.md").read_text()
CONF = "mine.Offline.target_qps = 100\nmine.*.min_duration = 0\nmine.*.min_query_count = 10\n"


def _blocks() -> list[str]:
    found = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(found) == 3
    return found


def test_the_child_of_the_page_runs_beside_a_fleet_and_is_ended_with_the_watch(tmp_path: Path) -> None:
    module, role, start = _blocks()
    (tmp_path / "busy_sampler.py").write_text(module)
    load_synthetic("10:4:4", GenerationLimits(2, 4), seed=0, vocab_size=100).save(tmp_path / "samples.npz")
    spec = tmp_path / "busy.txt"
    spec.touch()
    names = {
        "Watch": Watch,
        "view": PlainView(""),
        "spec": spec,
        "log": tmp_path / "sampler.log",
        "environment": {"PYTHONPATH": str(tmp_path)},
        "folder": tmp_path,
        "plan": FleetPlan("engine", (ReplicaPlan("simulated", {}, {}),), 60),
        "test": LoadgenTest(
            name="Offline/performance",
            scenario=Scenario.OFFLINE,
            mode=Mode.PERFORMANCE,
            loadgen_model="mine",
            user_conf=CONF,
            target_qps=100,
            samples=str(tmp_path / "samples.npz"),
        ),
    }
    exec(role, names)  # noqa: S102 - the page's own words
    assert isinstance(names["SAMPLER"], Role) and not names["SAMPLER"].essential
    exec(start, names)  # noqa: S102
    assert (tmp_path / "test" / "mlperf_log_detail.txt").is_file()
    shares = [float(line) for line in spec.read_text().splitlines()]
    assert shares and all(0 <= share <= 1 for share in shares)
    time.sleep(0.2)
    commands = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    assert not any("busy_sampler" in command for command in commands)


def test_the_role_of_the_page_names_every_field_that_matters() -> None:
    fields = set(Role.__dataclass_fields__)
    assert set(re.findall(r"^    (\w+)=", _blocks()[1], re.MULTILINE)) <= fields
