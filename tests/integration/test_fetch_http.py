"""One file over HTTP: cut, resumed, refused, wrong, too slow, too large."""

from __future__ import annotations

import re
from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest
from file_server import BODY, QUICK, Site, md5

from harness_llm.errors import HostError
from harness_llm.fetch.http import download

if TYPE_CHECKING:
    from pathlib import Path


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
    with pytest.raises(HostError, match="downloaded twice"):
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
    monkeypatch.setattr("harness_llm.fetch.disk.shutil.disk_usage", lambda _: usage)
    with pytest.raises(HostError, match="are free on that disk"):
        download(f"{site.url}/f", tmp_path / "f", md5(BODY), patience=QUICK)
