"""Whatever lies in a run, a tree or the documents, `package` says what is wrong and changes nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml
from run_maker import Maker, files

from harness_llm.errors import FolderError

if TYPE_CHECKING:
    from pathlib import Path

NO_TEXT = b"\xff\xfe"


def refused(maker: Maker, run: Path, *words: str, **options: object) -> FolderError:
    """Package into the tree that is there, and hold that it is refused and stays as it was."""
    tree = maker.path / "out" / "inference_results_v6.1"
    before = files(tree) if tree.exists() else {}
    with pytest.raises(FolderError) as caught:
        maker.package(run, replace=True, **options)
    assert (files(tree) if tree.exists() else {}) == before
    assert all(word in caught.value.message for word in words), caught.value.message
    assert caught.value.remedy
    return caught.value


def test_a_documentation_folder_that_is_not_there(maker: Maker) -> None:
    refused(maker, maker.run(), "nowhere: no such folder", documentation=maker.path / "nowhere")
    file = maker.path / "a.md"
    file.write_text("text")
    refused(maker, maker.run("b"), "a.md: no such folder", documentation=file)


@pytest.mark.parametrize(("content", "word"), [(NO_TEXT, "not valid UTF-8"), (b"", "is empty")])
def test_a_calibration_that_is_no_text(maker: Maker, content: bytes, word: str) -> None:
    documents = maker.path / "documents"
    documents.mkdir()
    (documents / "calibration.md").write_bytes(content)
    refused(maker, maker.run(), "documents/calibration.md", word, documentation=documents)


def test_a_calibration_may_be_a_link_as_in_a_model_cache(maker: Maker) -> None:
    documents = maker.path / "documents"
    documents.mkdir()
    (maker.path / "blob").write_text("Per-tensor scales.")
    (documents / "calibration.md").symlink_to(maker.path / "blob")
    tree = maker.package(maker.run(), documentation=documents, division="closed").tree
    written = tree / "closed" / "Org" / "documentation" / "calibration.md"
    assert "Per-tensor scales." in written.read_text() and not written.is_symlink()


def test_a_calibration_in_the_tree_that_is_no_text(maker: Maker) -> None:
    run = maker.run()
    tree = maker.package(run).tree
    (tree / "open" / "Org" / "documentation" / "calibration.md").write_bytes(NO_TEXT)
    refused(maker, run, "calibration.md", "not valid UTF-8")


@pytest.mark.parametrize("content", [b"{", b"[]", b"7", NO_TEXT, b"[" * 100_000, b""])
def test_a_model_mapping_in_the_tree_that_is_damaged(maker: Maker, content: bytes) -> None:
    run = maker.run(benchmark="mine")
    tree = maker.package(run).tree
    mapping = tree / "open" / "Org" / "model_mapping.json"
    assert isinstance(json.loads(mapping.read_text()), dict)
    mapping.write_bytes(content)
    assert refused(maker, run, "model_mapping.json in the tree").remedy == "Correct it, or remove it."
    mapping.unlink()
    maker.package(run, replace=True)


def test_a_verdict_of_a_compliance_test_that_is_no_text(maker: Maker) -> None:
    run = maker.run()
    (run / "Server" / "TEST06" / "verify_accuracy.txt").write_bytes(NO_TEXT)
    refused(maker, run, "Server/TEST06/verify_accuracy.txt", "not valid UTF-8")


@pytest.mark.parametrize("arguments", [3, "text", [1]])
def test_a_configuration_without_engine_arguments(maker: Maker, arguments: object) -> None:
    run = maker.run()
    (run / "config" / "Server.yaml").write_text(yaml.safe_dump({"llm_config": arguments}))
    refused(maker, run, "config/Server.yaml", "llm_config is not a mapping")
