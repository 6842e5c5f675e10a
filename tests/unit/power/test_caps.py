"""What is written to cards, by a library that records it: nothing, unless it was asked for."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fake_pynvml
import pytest

from harness_llm.errors import ConfigError, HostError
from harness_llm.power import caps as caps_module
from harness_llm.power.caps import NvmlCaps, SimulatedCaps, chosen_caps, require_asked
from harness_llm.power.sweep import PowerConfig, PowerStudy
from harness_llm.rules import SIMULATED


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "cards.json"
    path.write_text(json.dumps({"limits": [650_000, 600_000], "writes": []}))
    monkeypatch.setenv("FAKE_NVML", str(path))
    monkeypatch.delenv(caps_module.SWITCH, raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return path


def _writes(cards: Path) -> list[list[int]]:
    found: list[list[int]] = json.loads(cards.read_text())["writes"]
    return found


def _caps(tmp_path: Path, **more: Any) -> NvmlCaps:
    (tmp_path / "status").write_text("CapInh:\t0\nCapEff:\t000001ffffffffff\n")
    (tmp_path / "device").touch()
    files = {"status": tmp_path / "status", "device": tmp_path / "device"}
    return NvmlCaps(fake_pynvml, **{"set_caps": True, **files, **more})


def test_a_cap_is_set_read_back_and_given_back(cards: Path, tmp_path: Path) -> None:
    caps = _caps(tmp_path)
    caps.prove()
    assert _writes(cards) == [[0, 650_000], [1, 600_000]]  # what they were
    assert caps.range() == (200, 700, 700)
    assert caps.set(300) == 300
    caps.restore()
    assert json.loads(cards.read_text())["limits"] == [650_000, 600_000]
    count = len(_writes(cards))
    caps.restore()
    assert len(_writes(cards)) == count  # nothing to give back, nothing written


def test_cards_of_others_are_left_alone(cards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    caps = _caps(tmp_path)
    caps.prove()
    assert caps.set(300) == 300 and json.loads(cards.read_text())["limits"] == [650_000, 300_000]
    caps.restore()
    assert {index for index, _ in _writes(cards)} == {1}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(ConfigError, match="no GPU of this host is visible here"):
        _caps(tmp_path)


def test_a_card_that_breaks_leaves_none_of_the_others_capped(cards: Path, tmp_path: Path) -> None:
    caps = _caps(tmp_path)
    cards.write_text(json.dumps({"limits": [650_000, 600_000], "writes": [], "breaks_at": 2}))
    with pytest.raises(ConfigError, match="card 1"):
        caps.set(300)
    assert json.loads(cards.read_text())["limits"] == [300_000, 600_000]
    caps.restore()
    assert json.loads(cards.read_text())["limits"] == [650_000, 600_000]
    cards.write_text(json.dumps({"limits": [300_000, 300_000], "writes": [], "breaks_at": 1}))
    with pytest.raises(HostError, match="power caps were not restored: card 0: "):
        caps.restore()
    assert json.loads(cards.read_text())["limits"] == [300_000, 600_000]


def test_a_cap_that_the_cards_do_not_take_is_seen_when_it_is_read_back(
    cards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    caps = _caps(tmp_path)
    monkeypatch.setattr(fake_pynvml, "nvmlDeviceGetPowerManagementLimit", lambda _: 350_000)
    with pytest.raises(HostError, match="asked for a cap of 300 W"):
        caps.set(300)


def test_nothing_is_written_unasked_or_where_the_environment_forbids_it(
    cards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="nothing is set unless that is asked for") as found:
        _caps(tmp_path, set_caps=False).set(300)
    assert "--set-caps" in found.value.remedy
    for switch in ("forbid", "FORBID", "forbidden"):
        monkeypatch.setenv(caps_module.SWITCH, switch)
        for act in (lambda it: it.set(300), lambda it: it.prove()):
            with pytest.raises(ConfigError, match=f"HARNESS_POWER_CONTROL={switch}"):
                act(_caps(tmp_path))
        with pytest.raises(ConfigError, match="forbids"):
            require_asked(True)
    assert _writes(cards) == []


@pytest.mark.parametrize("knob", ["none", "cap"])
@pytest.mark.parametrize(("set_caps", "switch"), [(False, ""), (True, "forbid"), (False, "forbid")])
def test_no_study_writes_without_being_asked(
    cards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, knob: Any, set_caps: bool, switch: str
) -> None:
    monkeypatch.setenv(caps_module.SWITCH, switch)
    monkeypatch.setitem(__import__("sys").modules, "pynvml", fake_pynvml)
    config = PowerConfig(knob=knob, phases=["training"])
    if knob == "cap":
        with pytest.raises(ConfigError, match=r"nothing is set unless|HARNESS_POWER_CONTROL=forbid"):
            PowerStudy(config, tmp_path, set_caps=set_caps)
    elif set_caps:
        with pytest.raises(ConfigError, match="--set-caps does nothing with knob: none"):
            PowerStudy(config, tmp_path, set_caps=True)
    else:
        assert PowerStudy(config, tmp_path)._caps is None
    assert _writes(cards) == []


@pytest.mark.parametrize(
    ("of_engine", "gpu", "marker"),
    [
        ("made-up weights; unofficial", "auto", "made-up weights; unofficial"),
        ("made-up weights; unofficial", "simulated", SIMULATED),
        (SIMULATED, "auto", SIMULATED),
        ("", "auto", "unofficial"),
    ],
)
def test_a_study_is_marked_as_what_it_measures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of_engine: str, gpu: Any, marker: str
) -> None:
    monkeypatch.setattr(PowerStudy, "_prepared", SimpleNamespace(marker=of_engine))
    config = PowerConfig(knob="none", phases=["inference"], inference=Path("my.yaml"), gpu=gpu)
    assert PowerStudy(config, tmp_path).marker == marker
    training = PowerConfig(knob="none", phases=["training"], gpu=gpu)
    assert PowerStudy(training, tmp_path).marker == (SIMULATED if gpu == "simulated" else "unofficial")


@pytest.mark.parametrize(
    ("status", "owner", "virtual", "said"),
    [
        ("CapEff:\t0000000000000000\n", 0, 0, "lacks the capability SYS_ADMIN"),
        ("CapEff:\t000001ffffffffff\n", 65534, 0, "belongs to nobody"),
        ("CapEff:\t000001ffffffffff\n", 0, 2, "a virtual one"),
    ],
)
def test_a_host_that_would_refuse_is_known_by_reading_alone(
    cards: Path, tmp_path: Path, status: str, owner: int, virtual: int, said: str
) -> None:
    class Device(type(tmp_path)):  # type: ignore[misc]
        def stat(self, **_: Any) -> Any:
            return type("Status", (), {"st_uid": owner})()

    cards.write_text(json.dumps({"limits": [650_000], "writes": [], "virtual": virtual}))
    caps = _caps(tmp_path, device=Device(tmp_path / "device"))
    (tmp_path / "status").write_text(status)
    with pytest.raises(ConfigError, match=said) as found:
        caps.prove()
    assert "knob=load" in found.value.remedy
    assert _writes(cards) == []


def test_a_card_that_refuses_is_one_sentence_with_a_way_on(cards: Path, tmp_path: Path) -> None:
    cards.write_text(json.dumps({"limits": [650_000], "writes": [], "refuses": True}))
    with pytest.raises(ConfigError, match=r"card 0: its power cap cannot be set: Insufficient") as found:
        _caps(tmp_path).prove()
    assert "SYS_ADMIN" in found.value.remedy
    assert json.loads(cards.read_text())["limits"] == [650_000]


def test_caps_are_chosen_within_what_the_cards_take() -> None:
    assert chosen_caps((200, 700, 700), []) == [200, 285, 365, 450, 535, 615, 700]
    assert chosen_caps((200, 700, 700), [400, 300]) == [400, 300]
    with pytest.raises(ConfigError, match=r"150, 900 W: the cards take 200 to 700 W"):
        chosen_caps((200, 700, 700), [150, 300, 900])


def test_a_simulated_card_slows_down_under_a_cap(tmp_path: Path) -> None:
    caps = SimulatedCaps(tmp_path)
    full = float(caps.speed.read_text())
    caps.set(300)
    assert 0.5 < float(caps.speed.read_text()) < full == 1.0
    caps.restore()
    assert float(caps.speed.read_text()) == 1.0
