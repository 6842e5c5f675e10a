"""Downloads against a local server that behaves, and fails, like the hub and like MLCommons' storage."""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import re
import threading
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest

from harness_llm.errors import ConfigError, DatasetError, HostError, ModelError
from harness_llm.fetch.command import main
from harness_llm.fetch.digest import Digest
from harness_llm.fetch.http import Patience, download
from harness_llm.fetch.hub import HubModel, fetch_hub_model
from harness_llm.fetch.openorca import PublishedFile, fetch_openorca
from harness_llm.fetch.r2 import read_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUICK = Patience(attempts=3, pause_seconds=0.01, longest_pause_seconds=5)
BODY = bytes(range(256)) * 8192  # 2 MiB: more than one block


class Site:
    """A server with files, and failures that are used up one a request.

    Attributes:
        files: Body by path.
        headers: More headers, by path.
        failures: By path: `cut`, or a status with its headers.
        requests: Method, path and Range of every request so far.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.headers: dict[str, dict[str, str]] = {}
        self.failures: dict[str, list[str | tuple[int, dict[str, str]]]] = {}
        self.requests: list[tuple[str, str, str | None]] = []
        self.takes_ranges = True
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                site.answer(self)

            def do_HEAD(self) -> None:
                site.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = unquote(urlsplit(request.path).path)
        asked = request.headers.get("Range")
        self.requests.append((request.command, path, asked))
        failures = self.failures.get(path, [])
        failure = (
            failures.pop(0) if failures and not (failures[0] == "cut" and request.command == "HEAD") else None
        )
        if isinstance(failure, tuple):
            self.reply(request, failure[0], failure[1], b"refused")
        elif path not in self.files:
            self.reply(request, 404, {}, b"no such file")
        else:
            self.send_file(request, path, asked, cut=failure == "cut")

    def send_file(self, request: BaseHTTPRequestHandler, path: str, asked: str | None, *, cut: bool) -> None:
        body, headers, status = self.files[path], dict(self.headers.get(path, {})), 200
        if asked and self.takes_ranges:
            match = re.fullmatch(r"bytes=(\d+)-(\d*)", asked)
            assert match is not None, asked
            start = int(match[1])
            if start >= len(body):
                self.reply(request, 416, {"Content-Range": f"bytes */{len(body)}"}, b"")
                return
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            body, status = body[start:], 206
        self.reply(request, status, headers, body, sent=len(body) // 2 if cut else None)

    def reply(
        self,
        request: BaseHTTPRequestHandler,
        status: int,
        headers: dict[str, str],
        body: bytes,
        sent: int | None = None,
    ) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(body[:sent])
        request.close_connection = sent is not None

    def gets(self, path: str) -> list[str | None]:
        """The Range of every GET of a path."""
        return [asked for method, found, asked in self.requests if method == "GET" and found == path]


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


def md5(body: bytes) -> Digest:
    return Digest("md5", hashlib.md5(body).hexdigest())


# One file.


def test_a_cut_transfer_goes_on_where_it_stopped(site: Site, tmp_path: Path) -> None:
    site.files["/f"] = BODY
    site.failures["/f"] = ["cut", "cut", "cut", "cut"]  # more than the attempts: each brings something
    download(f"{site.url}/f", tmp_path / "f", md5(BODY), patience=QUICK)
    assert (tmp_path / "f").read_bytes() == BODY
    ranges = site.gets("/f")
    assert ranges[0] is None
    starts = [int(asked.removeprefix("bytes=").removesuffix("-")) for asked in ranges[1:] if asked]
    assert len(starts) == 4 and starts == sorted(starts) and starts[0] > 0
    assert not (tmp_path / "f.part").exists()


def test_a_part_of_an_earlier_command_is_used(site: Site, tmp_path: Path) -> None:
    site.files["/f"] = BODY
    (tmp_path / "f.part").write_bytes(BODY[:1000])
    download(f"{site.url}/f", tmp_path / "f", md5(BODY), patience=QUICK)
    assert site.gets("/f") == ["bytes=1000-"]
    assert (tmp_path / "f").read_bytes() == BODY


def test_a_whole_part_asks_for_nothing_more(site: Site, tmp_path: Path) -> None:
    site.files["/f"] = BODY
    (tmp_path / "f.part").write_bytes(BODY)
    download(f"{site.url}/f", tmp_path / "f", md5(BODY), patience=QUICK)
    assert site.gets("/f") == [f"bytes={len(BODY)}-"]


def test_a_wrong_part_is_fetched_anew(site: Site, tmp_path: Path) -> None:
    site.files["/f"] = BODY
    (tmp_path / "f.part").write_bytes(b"x" * 1000)
    download(f"{site.url}/f", tmp_path / "f", md5(BODY), patience=QUICK)
    assert site.gets("/f") == ["bytes=1000-", None]
    assert (tmp_path / "f").read_bytes() == BODY


def test_a_server_without_ranges_sends_all_again(site: Site, tmp_path: Path) -> None:
    site.files["/f"] = BODY
    site.takes_ranges = False
    (tmp_path / "f.part").write_bytes(b"x" * 1000)
    download(f"{site.url}/f", tmp_path / "f", md5(BODY), patience=QUICK)
    assert (tmp_path / "f").read_bytes() == BODY


def test_other_bytes_are_never_delivered(site: Site, tmp_path: Path) -> None:
    site.files["/f"] = BODY
    with pytest.raises(HostError, match="arrived twice"):
        download(f"{site.url}/f", tmp_path / "f", md5(b"other"), patience=QUICK)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["1", "date"])
def test_a_busy_server_is_given_the_time_it_asks_for(
    site: Site, tmp_path: Path, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("harness_llm.fetch.http.time.sleep", pauses.append)
    now = 1_800_000_000.0
    monkeypatch.setattr("harness_llm.fetch.http.time.time", lambda: now)
    site.files["/f"] = BODY
    wait = formatdate(now + 1, usegmt=True) if value == "date" else value
    site.failures["/f"] = [(429, {"Retry-After": wait}), (503, {})]
    download(f"{site.url}/f", tmp_path / "f", md5(BODY), patience=QUICK)
    assert pauses == [1.0, QUICK.pause_seconds * 2]


def test_a_server_that_asks_for_too_long_ends_it(site: Site, tmp_path: Path) -> None:
    site.failures["/f"] = [(429, {"Retry-After": "3600"})]
    with pytest.raises(HostError, match="pause of 3600 s"):
        download(f"{site.url}/f", tmp_path / "f", md5(BODY), patience=QUICK)


@pytest.mark.parametrize(
    ("status", "headers", "message"),
    [
        (401, {}, r"refuses access \(401\)"),
        (403, {}, r"refuses access \(403\)"),
        (404, {}, "answers 404"),
        (
            302,
            {"Location": "https://x.cloudflareaccess.com/cdn-cgi/access/login/y?kid=1"},
            "redirects to .*/login/y$",
        ),
    ],
)
def test_a_refusal_ends_it_at_once(
    site: Site, tmp_path: Path, status: int, headers: dict[str, str], message: str
) -> None:
    site.failures["/f"] = [(status, headers)] * 9
    with pytest.raises(HostError) as caught:
        download(f"{site.url}/f", tmp_path / "f", md5(BODY), patience=QUICK)
    assert re.search(message, caught.value.message)
    assert len(site.requests) == 1


def test_a_server_that_is_gone_ends_it_and_the_part_stays(site: Site, tmp_path: Path) -> None:
    (tmp_path / "f.part").write_bytes(BODY[:1000])
    url = site.url
    site.close()
    with pytest.raises(HostError, match="cannot be reached, 3 times in a row"):
        download(f"{url}/f", tmp_path / "f", md5(BODY), patience=QUICK)
    assert (tmp_path / "f.part").read_bytes() == BODY[:1000]
    site.__init__()  # type: ignore[misc]  # the fixture closes it once more


def test_a_full_disk_is_seen_before_the_transfer(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.files["/f"] = BODY
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("harness_llm.fetch.folder.shutil.disk_usage", lambda _: usage)
    with pytest.raises(HostError, match="are free on that disk"):
        download(f"{site.url}/f", tmp_path / "f", md5(BODY), patience=QUICK)


# MLCommons' storage.

SAMPLES, CALIBRATION = b"the samples" * 1000, b"the calibration set" * 100


def packed(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)


def publish(site: Site) -> tuple[str, tuple[PublishedFile, ...]]:
    """Put the data set up as MLCommons does; returns the metadata's URL and what is known of the files."""
    bodies = {"samples.pkl": SAMPLES, "calibration.pkl": CALIBRATION}
    for name, body in bodies.items():
        site.files[f"/open_orca/{name}.gz"] = packed(body)
    site.files["/metadata/orca.uri"] = f"{site.url}/open_orca".encode()
    site.files["/metadata/orca.md5"] = "".join(
        f"{md5(packed(body)).value}  {name}.gz\n" for name, body in bodies.items()
    ).encode()
    files = (
        PublishedFile("samples.pkl", md5(packed(SAMPLES)).value, md5(SAMPLES).value, 1),
        PublishedFile("calibration.pkl", md5(packed(CALIBRATION)).value, None, 1),
    )
    return f"{site.url}/metadata/orca.uri", files


def test_openorca_is_fetched_unpacked_and_found_again(site: Site, tmp_path: Path) -> None:
    uri, files = publish(site)
    site.failures["/open_orca/samples.pkl.gz"] = ["cut"]
    folder = fetch_openorca(tmp_path, uri=uri, files=files, patience=QUICK)
    assert (folder / "samples.pkl").read_bytes() == SAMPLES
    assert (folder / "calibration.pkl").read_bytes() == CALIBRATION
    assert sorted(path.name for path in folder.iterdir()) == [
        "calibration.pkl",
        "fetched.json",
        "samples.pkl",
    ]
    count = len(site.requests)
    assert fetch_openorca(tmp_path, uri=uri, files=files, patience=QUICK) == folder
    assert len(site.requests) == count


def test_a_sample_file_put_there_by_hand_is_taken_if_it_is_right(site: Site, tmp_path: Path) -> None:
    uri, files = publish(site)
    folder = tmp_path / "processed-openorca"
    folder.mkdir()
    (folder / "samples.pkl").write_bytes(SAMPLES)
    fetch_openorca(tmp_path, uri=uri, files=files, patience=QUICK)
    assert site.gets("/open_orca/samples.pkl.gz") == []
    (folder / "samples.pkl").write_bytes(SAMPLES[:-1])
    (folder / "fetched.json").unlink()
    with pytest.raises(DatasetError, match="the official file has md5"):
        fetch_openorca(tmp_path, uri=uri, files=files, patience=QUICK)
    assert (folder / "samples.pkl").read_bytes() == SAMPLES[:-1]


def test_a_data_set_that_changed_at_its_source_is_refused(site: Site, tmp_path: Path) -> None:
    uri, files = publish(site)
    site.files["/metadata/orca.md5"] = site.files["/metadata/orca.md5"].replace(b"c", b"d")
    with pytest.raises(HostError, match="publishes samples.pkl.gz with"):
        fetch_openorca(tmp_path, uri=uri, files=files, patience=QUICK)


def test_a_wrong_unpacked_file_is_refused(site: Site, tmp_path: Path) -> None:
    uri, files = publish(site)
    wrong = (PublishedFile("samples.pkl", files[0].packed_md5, "0" * 32, 1), files[1])
    with pytest.raises(HostError, match="the official file has md5 0000"):
        fetch_openorca(tmp_path, uri=uri, files=wrong, patience=QUICK)
    assert not (tmp_path / "processed-openorca" / "samples.pkl").exists()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("uri", "https://elsewhere.example/open_orca", "is no folder of"),
        ("uri", "<html>", "is no folder of"),
        ("md5", "<html>\n", "line 1"),
        ("md5", f"{'0' * 32}  ../../etc/passwd\n", "line 1"),
        ("md5", f"{'0' * 32}  /etc/passwd\n", "line 1"),
        ("md5", "\n", "lists no files"),
    ],
)
def test_metadata_that_is_something_else_is_refused(site: Site, name: str, text: str, message: str) -> None:
    uri, _ = publish(site)
    site.files[f"/metadata/orca.{name}"] = text.encode()
    with pytest.raises(HostError, match=message):
        read_folder(uri, patience=QUICK)


def test_an_address_without_uri_is_a_users_mistake(site: Site) -> None:
    with pytest.raises(ConfigError, match="is no URL of a .uri file"):
        read_folder(f"{site.url}/metadata/orca.md5", patience=QUICK)


def test_the_published_name_is_asked_for_as_listed(site: Site, tmp_path: Path) -> None:
    site.files |= {"/d/a b.bin": BODY, "/metadata/d.uri": f"{site.url}/d/\n".encode()}
    site.files["/metadata/d.md5"] = f"{md5(BODY).value} *./a b.bin\n".encode()
    folder = read_folder(f"{site.url}/metadata/d.uri", patience=QUICK)
    folder.fetch("a b.bin", tmp_path / "a", patience=QUICK)
    assert (tmp_path / "a").read_bytes() == BODY
    with pytest.raises(HostError, match="does not list c.bin"):
        folder.fetch("c.bin", tmp_path / "c", patience=QUICK)


# The hub.

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
    assert not (tmp_path / "tiny" / "fetched.json").exists()
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
    with pytest.raises(HostError, match="connection to the hub failed"):
        fetch_hub_model(MODEL, tmp_path, endpoint="http://127.0.0.1:9")


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
