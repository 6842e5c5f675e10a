"""A model's download that ends before its time: the folder knows whose it is; the hub is a stand-in."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from harness_llm.errors import FolderError, HostError
from harness_llm.fetch import hub
from harness_llm.fetch.digest import Digest
from harness_llm.fetch.folder import begin_record, is_fetched, read_record, write_record
from harness_llm.fetch.hub import HubModel, fetch_hub_model

if TYPE_CHECKING:
    from pathlib import Path

REVISIONS = {
    ("acme/tiny", "v1"): {"config.json": b"{}", "model-1.safetensors": b"one", "model-2.safetensors": b"two"},
    ("acme/tiny", "v2"): {"config.json": b"[]", "model.safetensors": b"both"},
    ("other/tiny", "v1"): {"config.json": b"{}", "model-1.safetensors": b"else"},
}


class Hub:
    """Gives so many files of a model, then the connection ends."""

    def __init__(self) -> None:
        self.gives = 99
        self.seen: list[dict[str, object] | None] = []

    def list(self, model: HubModel, *_: object) -> tuple[str, dict[str, hub._RemoteFile]]:
        files = REVISIONS[model.repository, model.revision]
        return "c" * 40, {
            name: hub._RemoteFile(len(body), Digest("sha256", hashlib.sha256(body).hexdigest()))
            for name, body in files.items()
        }

    def download(self, model: HubModel, _commit: str, _files: object, folder: Path, *_: object) -> None:
        self.seen.append(read_record(folder))
        files = list(REVISIONS[model.repository, model.revision].items())
        for name, body in files[: self.gives]:
            (folder / name).write_bytes(body)
        if self.gives < len(files):
            raise HostError("cut")


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Hub:
    stand_in = Hub()
    monkeypatch.setattr(hub, "_list_files", stand_in.list)
    monkeypatch.setattr(hub, "_download", stand_in.download)
    return stand_in


def _interrupted(stand_in: Hub, root: Path, revision: str = "v1") -> Path:
    stand_in.gives = 2 if revision == "v1" else 1
    with pytest.raises(HostError, match="cut"):
        fetch_hub_model(HubModel("acme/tiny", revision, "tiny"), root)
    stand_in.gives = 99
    return root / "tiny"


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_an_interrupted_download_knows_its_repository_and_refuses_another(
    stand_in: Hub, tmp_path: Path
) -> None:
    folder = _interrupted(stand_in, tmp_path)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert len(before) == 3, "two files and the record"
    with pytest.raises(FolderError, match="tiny holds acme/tiny, not other/tiny"):
        fetch_hub_model(HubModel("other/tiny", "v1", "tiny"), tmp_path)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_the_same_command_ends_it(stand_in: Hub, tmp_path: Path) -> None:
    folder = _interrupted(stand_in, tmp_path)
    model = HubModel("acme/tiny", "v1", "tiny")
    assert not is_fetched(folder, {"repository": "acme/tiny", "revision": "v1"}), (
        "though all recorded is there"
    )
    fetch_hub_model(model, tmp_path)
    assert _names(folder) == {*REVISIONS["acme/tiny", "v1"], "fetched.json"}
    record = read_record(folder)
    assert record is not None and record["state"] == "complete"
    count = len(stand_in.seen)
    fetch_hub_model(model, tmp_path)
    assert len(stand_in.seen) == count


def test_the_record_is_there_before_the_first_file(stand_in: Hub, tmp_path: Path) -> None:
    fetch_hub_model(HubModel("acme/tiny", "v1", "tiny"), tmp_path)
    (seen,) = stand_in.seen
    assert seen is not None and seen["state"] == "started"
    assert seen["source"] == {"repository": "acme/tiny", "revision": "v1"}


def test_of_an_interrupted_revision_nothing_is_left_in_another(stand_in: Hub, tmp_path: Path) -> None:
    folder = _interrupted(stand_in, tmp_path)
    fetch_hub_model(HubModel("acme/tiny", "v2", "tiny"), tmp_path)
    assert _names(folder) == {"config.json", "model.safetensors", "fetched.json"}
    _interrupted(stand_in, tmp_path, "v1")
    fetch_hub_model(HubModel("acme/tiny", "v2", "tiny"), tmp_path)
    assert _names(folder) == {"config.json", "model.safetensors", "fetched.json"}


def test_a_model_that_the_hub_refuses_takes_no_folder(
    stand_in: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise HostError("gated")

    monkeypatch.setattr(hub, "_list_files", refuse)
    with pytest.raises(HostError, match="gated"):
        fetch_hub_model(HubModel("other/tiny", "v1", "tiny"), tmp_path)
    monkeypatch.setattr(hub, "_list_files", stand_in.list)
    fetch_hub_model(HubModel("acme/tiny", "v1", "tiny"), tmp_path)


def test_what_began_is_not_fetched_even_if_nothing_was_to_come(tmp_path: Path) -> None:
    begin_record(tmp_path, {"repository": "a/b"}, [])
    assert not is_fetched(tmp_path, {"repository": "a/b"})
    write_record(tmp_path, {"repository": "a/b"})
    assert is_fetched(tmp_path, {"repository": "a/b"})


def test_a_record_of_an_older_release_is_of_a_complete_folder(tmp_path: Path) -> None:
    write_record(tmp_path, {"repository": "a/b"})
    record = json.loads((tmp_path / "fetched.json").read_text())
    del record["state"]
    (tmp_path / "fetched.json").write_text(json.dumps(record))
    assert is_fetched(tmp_path, {"repository": "a/b"})
