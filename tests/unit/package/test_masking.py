"""A secret that lies in what goes into a tree is masked there, and said."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_maker import Maker

from harness_llm import secret_values
from harness_llm.package.masking import mask_files
from harness_llm.secret_values import MASK

_TOKEN = "hf_" + "AbCdEfGhIj" * 3


def test_texts_are_masked_and_named_and_nothing_else_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secret_values, "_known", {"correct-horse"})
    files = {
        "run.sh": f"export HF_TOKEN={_TOKEN}\r\n".encode(),
        "deep/notes.md": b"the password is correct-horse",
        "code.py": b"call(token=token_id, api_key=key)\n",
        "picture.png": b"\x89PNG\xff" + _TOKEN.encode(),
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "link").symlink_to("link")
    assert list(mask_files(tmp_path)) == ["deep/notes.md", "run.sh"]
    assert (tmp_path / "run.sh").read_bytes() == f"export HF_TOKEN={MASK}\r\n".encode()
    assert (tmp_path / "deep/notes.md").read_bytes() == f"the password is {MASK}".encode()
    for name in ("code.py", "picture.png"):
        assert (tmp_path / name).read_bytes() == files[name]


def test_source_documents_and_user_conf_are_searched(maker: Maker, tmp_path: Path) -> None:
    (maker.repository / "code" / "a.py").write_text(f'TOKEN = "{_TOKEN}"\n')
    maker.git("commit", "-qam", "a slip")
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "bandwidth.md").write_text(f"see {_TOKEN}")
    run = maker.run(git={"commit": maker.git("rev-parse", "HEAD").strip(), "dirty": False})
    conf = run / "Offline/performance/user.conf"
    conf.write_text(f"{conf.read_text()}# {_TOKEN}\n")
    result = maker.package(run, documentation=documents)
    for origin, name in (
        ("the source", "code/a.py"),
        ("the documentation", "bandwidth.md"),
        ("user.conf",) * 2,
    ):
        assert any(text.startswith(origin) and name in text for text in result.warnings), result.warnings
    files = [path for path in result.tree.rglob("*") if path.is_file()]
    assert files and not [path for path in files if _TOKEN.encode() in path.read_bytes()]
