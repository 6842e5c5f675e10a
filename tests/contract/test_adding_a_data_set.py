"""docs/adding-a-data-set.md, followed to the letter."""

from __future__ import annotations

import importlib.util
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness_llm import cli
from harness_llm.config.load import load_config
from harness_llm.datasets.kinds import KINDS
from harness_llm.errors import ConfigError, DatasetError
from harness_llm.run.execute import execute
from harness_llm.run.prepare import prepare
from harness_llm.views.live import PlainView

if TYPE_CHECKING:
    from types import ModuleType

PAGE = (Path(__file__).parents[2] / "docs" / "adding-a-data-set.md").read_text()


def _block(before: str) -> str:
    """The code block that follows the words `before`, which end a paragraph of the page."""
    found = re.search(rf"{re.escape(before)}\n\n```\w*\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None, before
    return found[1]


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files of step 3, where steps 1 and 2 are done."""
    (tmp_path / "trace.py").write_text(_block("`datasets/trace.py`:"))
    spec = importlib.util.spec_from_file_location("trace_of_the_page", tmp_path / "trace.py")
    assert spec is not None and spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    row = re.fullmatch(r'\s*"(\w+)": (\w+),\n', _block("In `KINDS` of `datasets/kinds.py`:"))
    assert row is not None
    monkeypatch.setitem(KINDS, row[1], getattr(module, row[2]))
    for name in ("trace.csv", "trace.yaml", "trace.conf"):
        (tmp_path / name).write_text(_block(f"`{name}`:"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_samples_of_the_page_are_prepared_and_run(added: Path) -> None:
    prepared = prepare([load_config(Path("trace.yaml"))], ["performance"])
    table = prepared.table
    assert [table.prompt(index).tolist() for index in range(len(table))] == [[5, 6, 7], [10, 11, 12, 13]]
    assert table.max_tokens.tolist() == table.min_tokens.tolist() == [4, 3]
    (added / "trace.conf").write_text(
        "my-trace.Offline.target_qps = 10\nmy-trace.*.min_duration = 0\nmy-trace.*.min_query_count = 20\n"
    )
    prepared = prepare([load_config(Path("trace.yaml"))], ["performance"])
    execute(prepared, added / "run", PlainView(""), resume=False)
    log = (added / "run/Offline/performance/mlperf_log_summary.txt").read_text()
    assert "Result is : VALID" in log


def test_its_keys_are_those_of_the_class_and_of_every_kind(added: Path) -> None:
    def samples(more: str) -> int:
        keys = f"harness_config.dataset={{kind: trace, path: trace.csv, {more}}}"
        return len(prepare([load_config(Path("trace.yaml"), [keys])], ["performance"]).table)

    assert (samples(""), samples("shortest: 4"), samples("samples: 1")) == (2, 1, 1)
    (added / "trace.csv").write_text("prompt,answer\n5,6\n")
    with pytest.raises(DatasetError, match=r"trace\.csv, line 2: KeyError\('answer_tokens'\)"):
        samples("")
    with pytest.raises(
        ConfigError, match=r"harness_config\.dataset\.path is missing, e\.g\. path: trace\.csv"
    ):
        load_config(Path("trace.yaml"), ["harness_config.dataset={kind: trace}"])


def test_the_error_of_the_page_is_the_error(
    added: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = re.search(r"With `(dataset: .*)` the answer is", PAGE)
    assert wrong is not None
    text = (added / "trace.yaml").read_text()
    (added / "trace.yaml").write_text(re.sub(r"dataset: .*", wrong[1], text))
    monkeypatch.setattr(sys, "argv", ["harness-llm", "prepare", "--config", "trace.yaml"])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert _block("the answer is:") in capsys.readouterr().err
