from __future__ import annotations

from pathlib import Path

import pytest

from harness_llm.errors import ConfigError
from harness_llm.study.study_file import read_study
from harness_llm.tenants.seats import seats_of
from harness_llm.tenants.sharing import TOGETHER, TenantsStudy
from harness_llm.tenants.tenants_file import TenantsConfig

CONFIGS = Path(__file__).parents[3] / "studies" / "tenants" / "configs"
TWO = """\
experiment_name: two
tenants:
  - {name: a, model_name: distilgpt2}
  - {name: b, model_name: distilgpt2}
"""


def _read(tmp_path: Path, text: str, *overrides: str) -> TenantsConfig:
    (tmp_path / "x.yaml").write_text(text)
    return read_study(tmp_path / "x.yaml", TenantsConfig, overrides)


def _study(tmp_path: Path, text: str, *overrides: str) -> TenantsStudy:
    return TenantsStudy(_read(tmp_path, text, *overrides), tmp_path / "study", text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TWO.replace("name: b", "name: a"), "x.yaml:4:6: tenants\\[1\\].name: two tenants are called 'a'"),
        (TWO.replace("tenants:", "tenant:"), "x.yaml:2:1: unknown key tenant; did you mean 'tenants'"),
        (TWO.replace("b, model_name: distilgpt2", "b"), "needs one of model_name and harness"),
        (TWO.replace("{name: a,", "{"), "x.yaml:3:5: tenants\\[0\\].name is missing"),
        (TWO.replace("name: a,", "name: a, seq_len: 0,"), "tenants\\[0\\].seq_len.*greater than 0, found 0"),
        (TWO.replace("name: a,", "name: a, memory: 20G,"), "x.yaml:3:5: tenants\\[0\\]: .* need mps: true"),
        (
            TWO.replace("name: a,", "name: a, tag: t,"),
            "x.yaml:3:15: tenants\\[0\\].tag: a key of single_model alone",
        ),
        (TWO.replace("name: a,", "name: a/b,"), "x.yaml:3:6: tenants\\[0\\].name: it names a folder"),
        (TWO.replace("name: a,", "name: a, memory: 20,"), "memory: Input should be a valid string"),
        (TWO.replace("name: a,", "name: a, memory: 20T,"), "expected a whole number of M or G, such as 20G"),
        (TWO.replace("model_name: distilgpt2}", "harness: e.yaml, seq_len: 8}", 1), "goes with model_name"),
        (TWO + "mps: True/False\n", "mps"),
        ("experiment_name: none\n", "needs one of tenants, a list, and single_model"),
    ],
)
def test_a_mistake_names_its_place_and_what_would_do(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        _read(tmp_path, text)


def test_subsets_are_points_of_one_load(tmp_path: Path) -> None:
    three = TWO + "  - {name: c, model_name: gpt2}\n"

    def labels(matrix: str) -> list[str]:
        return [it.label for it in _study(tmp_path, three, f"matrix={matrix}").points()]

    assert labels("none") == [TOGETHER]
    assert labels("solo") == ["a", "b", "c", TOGETHER]
    assert labels("pairs") == labels("all") == ["a", "b", "c", "a+b", "a+c", "b+c", TOGETHER]
    assert {point.engines for point in _study(tmp_path, three).points()} == {"tenants"}
    seven = "experiment_name: x\ntenants:\n" + "".join(
        f"  - {{name: t{n}, model_name: gpt2}}\n" for n in range(7)
    )
    with pytest.raises(ConfigError, match="127 subsets; choose pairs"):
        _read(tmp_path, seven, "matrix=all")


def test_every_configuration_of_the_original_is_what_it_was_and_can_be_loaded(tmp_path: Path) -> None:
    files = {kind: sorted((CONFIGS / kind).glob("*.yaml")) for kind in ("solo", "multitenant")}
    assert [len(own) for own in files.values()] == [5, 26]
    for path in files["multitenant"]:
        config = read_study(path, TenantsConfig, ["device=cpu"])
        assert (config.mps is True) == (not path.stem.startswith("nomps"))
        assert all((it.batch_size, it.seq_len, it.num_iters, it.num_warmup) == (8, 128, 100, 10)
                   for it in config.tenants)  # fmt: skip
        study = TenantsStudy(config, tmp_path, "")
        assert study.marker.startswith("made-up weights") and study.asked()["shares_by_mps"] is False
        assert "mps does nothing" in "".join(study.notes) or not config.mps
    one = read_study(files["solo"][0], TenantsConfig)
    assert [seat.name for seat in seats_of(one)] == [one.seats[0].name]
    with pytest.raises(ConfigError, match="--set device=cpu"):
        TenantsStudy(read_study(files["solo"][0], TenantsConfig, ["device=cuda"]), tmp_path, "")


def test_keys_of_one_model_are_honoured_where_they_are_written(tmp_path: Path) -> None:
    text = "experiment_name: one\nsingle_model: {model_name: gpt2, name: g, tag: g8, device: cpu}\n"
    (seat,) = seats_of(_read(tmp_path, text))
    assert seat.name == "g8" and seat.plan.replicas[0].arguments["device"] == "cpu"
    assert [it.label for it in _study(tmp_path, text, "matrix=pairs").points()] == ["g8"]


def test_what_a_model_is_made_of_is_found_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_MODEL", str(tmp_path))
    with pytest.raises(ConfigError, match="no checkpoint folder, and its sizes are not known"):
        seats_of(_read(tmp_path, TWO.replace("distilgpt2", "who/knows")))
    (tmp_path / "distilgpt2").mkdir()
    (tmp_path / "distilgpt2" / "config.json").write_text("{}")
    seats = seats_of(_read(tmp_path, TWO))
    assert [seat.marker for seat in seats] == ["", ""]
    assert seats[0].plan.replicas[0].arguments["model"] == str(tmp_path / "distilgpt2")
    assert seats_of(_read(tmp_path, TWO, "scale=tiny"))[0].marker == "tiny shapes"


@pytest.mark.parametrize(("cores", "bound"), [("split", ["4,5", "6,7"]), ("shared", ["4,5,6,7", "4,5,6,7"])])
def test_cores_are_shared_whole_or_split(
    cores: str, bound: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {4, 5, 6, 7})
    seats = seats_of(_read(tmp_path, TWO, f"cores={cores}"))
    assert [it.plan.replicas[0].environment["HARNESS_LLM_FORWARD_CORES"] for it in seats] == bound


def test_cores_are_split_only_where_there_are_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {4})
    with pytest.raises(ConfigError, match="2 tenants on 1 core"):
        seats_of(_read(tmp_path, TWO, "cores=split"))
