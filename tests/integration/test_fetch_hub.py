"""Models of the hub, by the library and by the command."""

from __future__ import annotations

import hashlib
import json
import logging
from typing import TYPE_CHECKING

import pytest
from fetch_command import main
from file_server import BODY, Site

from harness_llm.errors import ConfigError, HostError, ModelError
from harness_llm.fetch.hub import HubModel, fetch_hub_model

if TYPE_CHECKING:
    from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MODEL = HubModel("acme/tiny", COMMIT, "tiny")
WEIGHTS = "/acme/tiny/resolve/" + COMMIT + "/model.safetensors"
INFO = f"/api/models/acme/tiny/revision/{COMMIT}"


@pytest.fixture
def hub(site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Site:
    """The server as a hub with one repository: safetensors, a second copy of them, and a configuration."""
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1 << 16)  # smaller than the file, as in earnest
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no_login"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    bodies = {
        "config.json": b'{"model_type": "llama"}',
        "model.safetensors": BODY,
        "pytorch_model.bin": b"copy",
    }
    siblings, tree = [], []
    for name, body in bodies.items():
        blob = hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()
        sibling: dict[str, object] = {"rfilename": name, "size": len(body), "blobId": blob}
        entry: dict[str, object] = {"type": "file", "path": name, "size": len(body), "oid": blob}
        etag = blob
        if not name.endswith(".json"):
            etag = hashlib.sha256(body).hexdigest()
            sibling["lfs"] = {"sha256": etag, "size": len(body), "pointerSize": 134}
            entry["lfs"] = {"oid": etag, "size": len(body), "pointerSize": 134}
        siblings.append(sibling)
        tree.append(entry)
        path = f"/acme/tiny/resolve/{COMMIT}/{name}"
        site.files[path] = body
        site.headers[path] = {"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"'}
    info = json.dumps({"id": "acme/tiny", "sha": COMMIT, "siblings": siblings}).encode()
    for path in (INFO, "/api/models/acme/tiny/revision/main"):
        site.files[path] = info
        site.headers[path] = {"Content-Type": "application/json"}
    site.files[f"/api/models/acme/tiny/tree/{COMMIT}"] = json.dumps(tree).encode()
    return site


def test_a_model_arrives_checked_and_is_found_again(hub: Site, tmp_path: Path) -> None:
    folder = fetch_hub_model(MODEL, tmp_path, endpoint=hub.url)
    assert (folder / "model.safetensors").read_bytes() == BODY
    assert not (folder / "pytorch_model.bin").exists(), "safetensors make the second copy needless"
    record = json.loads((folder / "fetched.json").read_text())
    assert record["notes"]["commit"] == COMMIT
    assert record["files"]["model.safetensors"]["sha256"] == hashlib.sha256(BODY).hexdigest()
    count = len(hub.requests)
    fetch_hub_model(MODEL, tmp_path, endpoint=hub.url)
    assert len(hub.requests) == count, "a complete model asks the hub nothing"


def test_a_cut_model_goes_on_where_it_stopped(hub: Site, tmp_path: Path) -> None:
    hub.failures[WEIGHTS] = ["cut"]
    fetch_hub_model(MODEL, tmp_path, endpoint=hub.url)
    ranges = hub.gets(WEIGHTS)
    assert ranges[0] is None and ranges[1] == f"bytes={len(BODY) // 2}-"


def test_a_busy_hub_is_given_time(hub: Site, tmp_path: Path) -> None:
    hub.failures[WEIGHTS] = [(429, {"Retry-After": "0"})]
    assert (fetch_hub_model(MODEL, tmp_path, endpoint=hub.url) / "model.safetensors").read_bytes() == BODY


def test_wrong_weights_are_refused_and_the_next_command_gets_them_right(hub: Site, tmp_path: Path) -> None:
    hub.files[WEIGHTS] = BODY[::-1]
    with pytest.raises(HostError, match="the hub says sha256"):
        fetch_hub_model(MODEL, tmp_path, endpoint=hub.url)
    assert json.loads((tmp_path / "tiny" / "fetched.json").read_text())["state"] == "started"
    assert not (tmp_path / "tiny" / "model.safetensors").exists()
    hub.files[WEIGHTS] = BODY
    assert (fetch_hub_model(MODEL, tmp_path, endpoint=hub.url) / "model.safetensors").read_bytes() == BODY


def test_damage_after_the_download_is_repaired(hub: Site, tmp_path: Path) -> None:
    weights = fetch_hub_model(MODEL, tmp_path, endpoint=hub.url) / "model.safetensors"
    weights.write_bytes(BODY[:-1] + b"x")
    fetch_hub_model(MODEL, tmp_path, endpoint=hub.url)
    assert weights.read_bytes() == BODY


REFUSALS = {
    "no token, gated": (None, 401, {"X-Error-Code": "GatedRepo"}, ModelError, "HUGGINGFACE_ACCESS_TOKEN"),
    "no token, missing": (None, 401, {"X-Error-Code": "RepoNotFound"}, ModelError, "or does not exist"),
    "wrong token": (
        "hf_x",
        401,
        {"X-Error-Message": "Invalid credentials in Authorization header"},
        ConfigError,
        "does not accept this token",
    ),
    "no access yet": ("hf_x", 403, {"X-Error-Code": "GatedRepo"}, ModelError, "has no access yet"),
    "no such model": ("hf_x", 404, {"X-Error-Code": "RepoNotFound"}, ModelError, "does not exist"),
    "no such file": ("hf_x", 404, {"X-Error-Code": "EntryNotFound"}, ModelError, "answers 404 for a file"),
    "no such revision": ("hf_x", 404, {"X-Error-Code": "RevisionNotFound"}, ModelError, "has no revision"),
}


@pytest.mark.parametrize("where", [INFO, WEIGHTS], ids=["listing", "weights"])
@pytest.mark.parametrize("case", list(REFUSALS))
def test_each_refusal_has_its_line(hub: Site, tmp_path: Path, case: str, where: str) -> None:
    token, status, headers, kind, message = REFUSALS[case]
    hub.failures[where] = [(status, headers)] * 20
    with pytest.raises(kind, match=message) as caught:
        fetch_hub_model(MODEL, tmp_path, token=token, endpoint=hub.url)
    assert caught.value.exit_code == 2
    assert "\n" not in caught.value.message


def test_a_hub_that_is_gone_is_said_so(hub: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HostError, match="connection to the hub failed") as caught:
        fetch_hub_model(MODEL, tmp_path, endpoint="http://127.0.0.1:9")
    assert "HF_ENDPOINT" in caught.value.remedy and "Run the same command again" in caught.value.remedy


def test_the_command_fetches_any_name_of_the_hub(
    hub: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    arguments = ["--model", "acme/tiny", "--endpoint", hub.url]
    environment = {"LAB_MODEL": str(tmp_path), "HUGGINGFACE_ACCESS_TOKEN": "hf_x"}
    assert main(arguments, environment) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'tiny'}\n"
    assert (tmp_path / "tiny" / "model.safetensors").read_bytes() == BODY

    hub.failures["/api/models/acme/tiny/revision/v2"] = [(403, {"X-Error-Code": "GatedRepo"})]
    assert main([*arguments, "--revision", "v2"], environment) == 2
    assert capsys.readouterr().err.startswith("error: acme/tiny is gated")
