"""What a model's folder may hold before a download; the hub itself is a stand-in."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from harness_llm.errors import FolderError
from harness_llm.fetch import hub
from harness_llm.fetch.digest import Digest
from harness_llm.fetch.hub import HubModel, fetch_hub_model

if TYPE_CHECKING:
    from pathlib import Path

Files = dict[str, bytes]
REVISIONS: dict[tuple[str, str], Files] = {
    ("acme/tiny", "v1"): {"config.json": b"{}", "model-1.safetensors": b"one", "model-2.safetensors": b"two"},
    ("acme/tiny", "v2"): {"config.json": b"{}", "model.safetensors": b"both"},
    ("other/tiny", "v1"): {"config.json": b"{}", "model.safetensors": b"else"},
}


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def listed(model: HubModel, *_: object) -> tuple[str, dict[str, hub._RemoteFile]]:
        files = REVISIONS[model.repository, model.revision]
        return "c" * 40, {
            name: hub._RemoteFile(len(body), Digest("sha256", hashlib.sha256(body).hexdigest()))
            for name, body in files.items()
        }

    def download(model: HubModel, _commit: str, _files: object, folder: Path, *_: object) -> None:
        for name, body in REVISIONS[model.repository, model.revision].items():
            (folder / name).write_bytes(body)

    monkeypatch.setattr(hub, "_list_files", listed)
    monkeypatch.setattr(hub, "_download", download)


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_another_revision_leaves_nothing_of_the_one_before(tmp_path: Path) -> None:
    folder = fetch_hub_model(HubModel("acme/tiny", "v1", "tiny"), tmp_path)
    assert "model-1.safetensors" in _names(folder)
    fetch_hub_model(HubModel("acme/tiny", "v2", "tiny"), tmp_path)
    assert _names(folder) == {"config.json", "model.safetensors", "fetched.json"}


def test_a_model_of_the_same_name_and_another_owner_is_refused_and_nothing_is_touched(tmp_path: Path) -> None:
    folder = fetch_hub_model(HubModel("acme/tiny", "v1", "tiny"), tmp_path)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(FolderError, match="tiny holds acme/tiny, not other/tiny"):
        fetch_hub_model(HubModel("other/tiny", "v1", "tiny"), tmp_path)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_what_others_put_into_the_folder_is_neither_recorded_nor_removed(tmp_path: Path) -> None:
    """quantize_llama2_70b.sh writes its checkpoint below the model's folder."""
    model = HubModel("acme/tiny", "v1", "tiny")
    folder = fetch_hub_model(model, tmp_path)
    (folder / "fp8_quantized").mkdir()
    quantized = folder / "fp8_quantized" / "model.safetensors"
    quantized.write_bytes(b"eight")
    (folder / "config.json").write_bytes(b"[]")
    fetch_hub_model(model, tmp_path, rehash=True)
    assert (folder / "config.json").read_bytes() == b"{}"
    assert set(json.loads((folder / "fetched.json").read_text())["files"]) == set(
        REVISIONS["acme/tiny", "v1"]
    )
    fetch_hub_model(HubModel("acme/tiny", "v2", "tiny"), tmp_path)
    assert quantized.read_bytes() == b"eight"
