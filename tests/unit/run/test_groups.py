"""The tests of a run in groups: what runs, what is left alone, what follows; nothing is started."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from golden.run_folder import begin_test
from own_benchmark import CONF, Setup

from harness_llm.config.load import load_config
from harness_llm.core import Mode, Scenario
from harness_llm.errors import HostError
from harness_llm.results.events import EVENT_DTYPE
from harness_llm.results.observed import PreflightRecord
from harness_llm.results.records import RunRecord
from harness_llm.results.run_folder import RunFolder, TestFolder
from harness_llm.run.groups import TestGroup, check_disk, describe_follow_up, measure_groups, plan_fleet
from harness_llm.run.prepare import prepare
from harness_llm.testing import RecordingView
from harness_llm.transport.spec import LoadgenTest
from harness_llm.views.progress import TestProgress


class _Fleet:
    """Measures at once, or gives the test up that is called `lost`."""

    lost = ""
    preflight = PreflightRecord(replicas=1, samples=(0,), tokens=2, seconds=0.1, differ_in_a_batch=(0,))

    def __init__(self, done: list[str], name: str) -> None:
        self._done, self._name = done, name

    def __enter__(self) -> _Fleet:
        self._done.append(f"load {self._name}")
        return self

    def __exit__(self, *_: object) -> None:
        self._done.append(f"unload {self._name}")

    def measure(
        self, test: LoadgenTest, folder: Path, give_up: Callable[[TestProgress], str]
    ) -> SimpleNamespace:
        progress = TestProgress(test)
        progress.lost = "8 of 7" if test.name == self.lost else ""
        self._done.append(f"{test.name} on {Path(test.samples).name}")
        assert Path(test.samples).is_absolute()
        files = RunFolder(folder.parents[1]).test(test.name)
        begin_test(files)
        if reason := give_up(progress):
            files.abandoned(reason)
            return SimpleNamespace(state="abandoned", reason=reason)
        files.complete({})
        return SimpleNamespace(state="complete")


class _Watch:
    def __init__(self) -> None:
        self.view = RecordingView()
        self.done: list[str] = []
        self.folders: set[Path] = set()

    def fleet(self, plan: Any, folder: Path, samples: Path) -> _Fleet:
        assert samples.name == "samples.npz"
        self.folders.add(folder)
        return _Fleet(self.done, plan.name)

    def beside(self, work: Callable[[], None], stage: str) -> None:
        self.done.append(stage)
        work()


def _measure(folder: Path, groups: tuple[TestGroup, ...], after: Callable[[Path], None]) -> list[str]:
    watch: Any = _Watch()
    with RunFolder(folder) as run:
        run.begin(RunRecord.blank())
        measure_groups(watch, run, groups, after)
        record = run.record()
        assert record is not None
        loaded = {line[5:] for line in watch.done if line.startswith("load ")}
        assert loaded <= set(record.preflights)
    assert watch.folders == {folder / "replicas" / group.fleet.name for group in groups}
    return list(watch.done)


@pytest.fixture
def groups(setup: Setup) -> tuple[TestGroup, ...]:
    """Two groups, the second of two tests, one of them on samples of its own."""
    offline, server = prepare(
        [setup.config("Offline"), setup.config("Server", {"a": 1})], ["performance"]
    ).groups
    own = msgspec.structs.replace(
        server.tests[0], name="Server/TEST07", samples="samples_TEST07.npz", audit_conf="x"
    )
    return offline, replace(server, tests=(*server.tests, own))


def test_each_group_loads_once_and_the_last_of_it_is_followed_up_without_engines(
    setup: Setup, groups: tuple[TestGroup, ...]
) -> None:
    followed: list[Path] = []
    assert _measure(setup.folder / "run", groups, followed.append) == [
        "load Offline", "Offline/performance on samples.npz", "unload Offline",
        "Offline/performance: writing its record",
        "load Server", "Server/performance on samples.npz", "Server/performance: writing its record",
        "Server/TEST07 on samples_TEST07.npz", "unload Server", "Server/TEST07: verifying its answers",
    ]  # fmt: skip
    assert followed == [setup.folder / "run" / test.name for group in groups for test in group.tests]
    for folder in followed:
        assert TestFolder(folder).is_followed_up


def test_what_is_complete_and_followed_up_is_left_alone(setup: Setup, groups: tuple[TestGroup, ...]) -> None:
    def fails(folder: Path) -> None:
        if folder.name == "TEST07":
            raise HostError("no room")

    with pytest.raises(HostError):
        _measure(setup.folder / "run", groups, fails)
    done = _measure(setup.folder / "run", groups, lambda _: None)
    assert done == ["Server/TEST07: verifying its answers"], "and no engine was loaded for it"
    assert _measure(setup.folder / "run", groups, fails) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "writing its record"),
        ({"mode": Mode.ACCURACY}, "scoring its answers"),
        ({"audit_conf": "x"}, "verifying its answers"),
    ],
)
def test_what_follows_a_test_is_called_what_it_is(changes: dict[str, Any], words: str) -> None:
    test = LoadgenTest("Offline/x", Scenario.OFFLINE, Mode.PERFORMANCE, "m", "", 1.0, "s")
    assert describe_follow_up(msgspec.structs.replace(test, **changes)) == words


def test_scenarios_with_equal_engine_arguments_share_replicas(setup: Setup) -> None:
    setup.conf.write_text(CONF + "mine-interactive.Server.target_qps = 2\n")
    configs = [setup.config("Offline"), setup.config("Server", {"a": 1}), setup.config("Interactive")]
    first, second = prepare(configs, ["performance"]).groups
    assert (first.fleet.name, second.fleet.name) == ("Offline-Interactive", "Server")
    assert [test.name for test in first.tests] == ["Offline/performance", "Interactive/performance"]


def test_the_most_patient_timeouts_of_a_group_hold_whatever_their_order(setup: Setup) -> None:
    setup.conf.write_text(CONF + "mine-interactive.Server.target_qps = 2\n")
    configs = [
        setup.config("Offline", engine_start_timeout_s=20, silence_timeout_s=9),
        setup.config("Server", engine_start_timeout_s=70, silence_timeout_s=5, stall_timeout_s=6),
        setup.config("Interactive", engine_start_timeout_s=40, silence_timeout_s=30),
    ]
    for order in (configs, configs[::-1]):
        (group,) = prepare(order, ["performance"]).groups
        assert (group.fleet.start_timeout_s, group.fleet.silence_timeout_s) == (70, 30)
        by_name = {test.name: test for test in group.tests}
        server = by_name["Server/performance"]
        assert (server.silence_timeout_s, server.stall_timeout_s) == (5, 6), "a test has its own"


def test_a_fleet_has_a_replica_for_each_environment(setup: Setup) -> None:
    (group,) = setup.prepared(
        replicas=3, engine_env={"A": "1"}, engine={"kind": "simulated", "per_token_ms": 2.0}
    ).groups
    assert len(group.fleet.replicas) == 3
    for replica in group.fleet.replicas:
        assert replica.engine == "simulated" and replica.environment["A"] == "1"
        assert replica.arguments["per_token_ms"] == 2.0


@pytest.mark.parametrize(("missing", "fits"), [(1, False), (0, True)])
def test_a_disk_must_hold_all_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: int, fits: bool
) -> None:
    needed = 2 * (10**6 * 3 * EVENT_DTYPE.itemsize + 10**9 * 8) + (64 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=needed - missing))
    if fits:
        check_disk(tmp_path, 2, 10**6, 10**9)
        return
    with pytest.raises(HostError, match="MiB are free") as caught:
        check_disk(tmp_path, 2, 10**6, 10**9)
    assert str(tmp_path) in caught.value.message
    assert "--output" in caught.value.remedy


def test_a_test_that_is_given_up_ends_the_run(
    tmp_path: Path, groups: tuple[TestGroup, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Fleet, "lost", "Offline/performance")
    watch: Any = _Watch()
    with RunFolder(tmp_path / "run") as run:
        run.begin(RunRecord.blank())
        reason = measure_groups(watch, run, groups, lambda _: None)
    assert reason == "Offline/performance: 8 of 7"
    assert watch.done == ["load Offline", "Offline/performance on samples.npz", "unload Offline"]


@pytest.mark.parametrize(("more", "may"), [([], False), (["llm_config.load_format=random"], True)])
def test_answers_of_made_up_weights_may_repeat_a_token(more: list[str], may: bool) -> None:
    profile = Path(__file__).parents[3] / "code/harness_llm/models/smollm2-135m/server_cpu.yaml"
    assert plan_fleet([load_config(profile, more)]).may_repeat is may
