"""What `init` writes is read back, and prepared, as a run would."""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness_llm.config import asked
from harness_llm.config.asked import Given, answers_to, kind_of
from harness_llm.config.load import load_config
from harness_llm.config.starter import starter_files
from harness_llm.config.user_conf import UserConf
from harness_llm.core import Scenario
from harness_llm.errors import HarnessError
from harness_llm.logs.early_stopping import max_over_limit
from harness_llm.system.accelerators import Found
from harness_llm.system.facts import Accelerator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Command = Callable[..., tuple[int, str, str]]

GPU = Found((Accelerator(name="NVIDIA H200", vendor="NVIDIA"),))


@pytest.fixture(autouse=True)
def _a_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAB_MODEL", str(tmp_path / "models"))
    monkeypatch.setattr(asked.accelerators, "read", lambda: GPU)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "my model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 8192, "vocab_size": 500}))
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    return folder


def _written(given: Given, folder: Path) -> dict[str, str]:
    found = {}
    for path, text in starter_files(answers_to(given), folder).items():
        folder.mkdir(exist_ok=True)
        path.write_text(text)
        found[path.name] = text
    return found


def test_an_own_model_is_read_back_with_its_limits(model: Path, tmp_path: Path) -> None:
    data = tmp_path / "p.jsonl"
    data.write_text('{"prompt": "x"}\n')
    given = Given(model=str(model), data=data, scenarios=("server", "Offline"), ttft_ms=500, rate=3.5)
    files = _written(given, tmp_path / "new")
    assert files.keys() == {"server.yaml", "offline.yaml", "user.conf"}
    assert "its chat template wraps each prompt; up to 8,192 tokens" in files["server.yaml"]
    config = load_config(tmp_path / "new" / "server.yaml")
    assert config.model_path == model and config.harness_config.benchmark == "my-model"
    conf = UserConf.read(config.harness_config.user_conf)
    benchmark = answers_to(given).benchmark
    conf.validate(benchmark, [Scenario.SERVER, Scenario.OFFLINE])
    found = conf.settings_for("my-model", Scenario.SERVER)
    assert (found["ttft_latency"], found["tpot_latency"], found["target_qps"]) == (500, 60_000, 3.5)
    assert files["user.conf"].count("No limit was given") == 1 and "(--tpot)" in files["user.conf"]
    assert max_over_limit(int(found["min_query_count"])) == 2


def test_without_a_rate_the_machine_is_measured_but_not_for_an_official_benchmark(
    model: Path, tmp_path: Path
) -> None:
    def share(given: Given) -> float | None:
        files = _written(given, tmp_path)
        said = "Not asked while the YAML file has measured_rate" in files["user.conf"]
        found = load_config(tmp_path / "server.yaml").harness_config.measured_rate
        assert said is (found is not None)
        return found

    assert share(Given(model=str(model))) == 0.5
    assert share(Given(model=str(model), rate=3)) is None
    assert share(Given(benchmark="llama2-70b")) is None


def test_every_key_has_a_comment(model: Path, tmp_path: Path) -> None:
    files = _written(Given(model=str(model)), tmp_path)
    lines = files["server.yaml"].splitlines()
    keys = [number for number, line in enumerate(lines) if re.match(r" *[\w]+:", line)]
    assert len(keys) > 10
    for number in keys:
        assert "#" in lines[number] or lines[number - 1].lstrip().startswith("#"), lines[number]
    settings = [
        n for n, line in enumerate(files["user.conf"].splitlines()) if " = " in line and line[0] != "#"
    ]
    assert all(files["user.conf"].splitlines()[number - 1].startswith("#") for number in settings)


@pytest.mark.parametrize(
    ("name", "gpu", "extends"),
    [
        ("llama2-70b", None, "server_h200.yaml"),
        ("llama2-70b", "mi300x", "server_mi300x.yaml"),
        ("llama2-70b", "b300", "base.yaml"),
        ("smollm2-135m", "cpu", "server_cpu.yaml"),
    ],
)
def test_a_benchmark_begins_with_what_is_shipped_for_the_gpu(
    tmp_path: Path, name: str, gpu: str | None, extends: str
) -> None:
    files = _written(Given(benchmark=name, gpu=gpu), tmp_path)
    assert f"/{extends}\n" in files["server.yaml"]
    config = load_config(tmp_path / "server.yaml")
    assert config.harness_config.scenario == "Server"
    benchmark = answers_to(Given(benchmark=name)).benchmark
    UserConf.read(tmp_path / "user.conf").validate(benchmark, [Scenario.SERVER])
    assert ("ttft_latency" in files["user.conf"]) is not benchmark.is_official, "the rules have limits"


def test_a_benchmark_without_shipped_files_and_a_name_of_the_hub(tmp_path: Path) -> None:
    answers = answers_to(Given(benchmark="mixtral-8x7b", data=None))
    files = starter_files(answers, tmp_path)
    assert "max_tokens: 1024" in files[tmp_path / "server.yaml"]
    answers = answers_to(Given(model="acme/tiny"))
    assert answers.model == str(tmp_path / "models" / "tiny")
    assert answers.notes == ("get the model first: harness-llm fetch --model acme/tiny",)


# ---------------------------------------------------------------------- a server


@pytest.fixture
def server(model: Path) -> Iterator[str]:
    """A server that lists one model and where it comes from."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"data": [{"id": "tiny/chat", "root": str(model)}]}).encode()
            self.send_response(200 if self.path == "/v1/models" else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


def test_a_server_says_what_it_serves_and_where_its_tokenizer_is(
    server: str, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "p.jsonl").write_text('{"prompt": "x"}\n')
    _written(Given(servers=(f"{server}/v1",), data=Path("p.jsonl")), tmp_path)
    config = load_config(tmp_path / "server.yaml")
    engine = config.engine.model_dump()
    assert (engine["kind"], engine["model"], engine["base_urls"]) == ("openai", "tiny/chat", [f"{server}/v1"])
    assert config.model_path == model and config.harness_config.benchmark == "chat"


def test_a_server_that_is_not_there_yet_is_no_error(tmp_path: Path) -> None:
    given = Given(servers=("http://127.0.0.1:9",))
    assert "start the server before a run" in answers_to(given).notes[0]
    _written(given, tmp_path)
    assert load_config(tmp_path / "server.yaml").llm_config == {}


# ---------------------------------------------------------------------- wrong answers


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": "/nowhere"}, "no such checkpoint folder"),
        ({"benchmark": "my-own"}, "needs --model or --server"),
        ({"benchmark": "llama2-70b", "scenarios": ("Sometimes",)}, "--scenario Sometimes: not known"),
        ({"benchmark": "llama2-70b", "data": Path("none.csv")}, "--data none.csv: no such file"),
        ({"servers": ("http://127.0.0.1:9",), "data": Path()}, "need its tokenizer here"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        answers_to(Given(**given))


@pytest.mark.parametrize(
    ("word", "field"),
    [("http://x:1", "servers"), ("acme/tiny", "model"), ("my model", "model"), ("llama2-70b", "benchmark")],
)
def test_a_word_is_put_where_it_belongs(model: Path, word: str, field: str) -> None:
    assert list(kind_of(word)) == [field]
    with pytest.raises(HarnessError, match="not a folder, not a URL"):
        kind_of("surely-nothing")


def test_the_command_writes_once_and_says_what_to_type(command: Command, model: Path, tmp_path: Path) -> None:
    code, out, err = command("init", "--model", model, "--output", tmp_path / "new")
    assert (code, err) == (0, "")
    assert f"check:   harness-llm prepare -c {tmp_path}/new/server.yaml --test performance" in out
    assert command("init", "--model", model, "--output", tmp_path / "new")[0] == 2
    assert command("init", "--model", model, "--output", tmp_path / "new", "--replace")[0] == 0


def test_it_asks_on_a_terminal_only(command: Command, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, err = command("init")
    assert code == 2 and "no terminal to ask on" in err
    said = iter(["my model", "", 700.0, 90.0])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.prompt", lambda *_, **__: next(said))
    assert command("init")[0] == 0
    assert "my-model.Server.ttft_latency = 700" in Path("user.conf").read_text()
