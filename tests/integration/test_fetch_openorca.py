"""MLCommons' storage: its metadata, and the OpenOrca files that it lists."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest
from file_server import BODY, QUICK, Site, md5

from harness_llm.benchmark import all_datasets
from harness_llm.benchmark.definition import DataFile, DataSet
from harness_llm.errors import ConfigError, DatasetError, HostError
from harness_llm.fetch.published import fetch_published
from harness_llm.fetch.r2 import read_folder

if TYPE_CHECKING:
    from pathlib import Path

SAMPLES, CALIBRATION = b"the samples" * 1000, b"the calibration set" * 100


def packed(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)


def publish(site: Site) -> DataSet:
    """Put the data set up as MLCommons does; returns what is known of it."""
    bodies = {"samples.pkl": SAMPLES, "calibration.pkl": CALIBRATION}
    for name, body in bodies.items():
        site.files[f"/open_orca/{name}.gz"] = packed(body)
    site.files["/metadata/orca.uri"] = f"{site.url}/open_orca".encode()
    site.files["/metadata/orca.md5"] = "".join(
        f"{md5(packed(body)).value}  {name}.gz\n" for name, body in bodies.items()
    ).encode()
    files = (
        DataFile(name="samples.pkl", packed_md5=md5(packed(SAMPLES)).value, md5=md5(SAMPLES).value, size=1),
        DataFile(name="calibration.pkl", packed_md5=md5(packed(CALIBRATION)).value, size=1),
    )
    return all_datasets()["openorca"].model_copy(
        update={"uri": f"{site.url}/metadata/orca.uri", "files": files}
    )


def test_openorca_is_fetched_unpacked_and_found_again(site: Site, tmp_path: Path) -> None:
    wanted = publish(site)
    site.failures["/open_orca/samples.pkl.gz"] = ["cut"]
    folder = fetch_published(wanted, tmp_path, patience=QUICK)
    assert (folder / "samples.pkl").read_bytes() == SAMPLES
    assert (folder / "calibration.pkl").read_bytes() == CALIBRATION
    assert sorted(path.name for path in folder.iterdir()) == [
        "calibration.pkl",
        "fetched.json",
        "samples.pkl",
    ]
    count = len(site.requests)
    assert fetch_published(wanted, tmp_path, patience=QUICK) == folder
    assert len(site.requests) == count


def test_a_sample_file_put_there_by_hand_is_taken_if_it_is_right(site: Site, tmp_path: Path) -> None:
    wanted = publish(site)
    folder = tmp_path / "processed-openorca"
    folder.mkdir()
    (folder / "samples.pkl").write_bytes(SAMPLES)
    fetch_published(wanted, tmp_path, patience=QUICK)
    assert site.gets("/open_orca/samples.pkl.gz") == []
    (folder / "samples.pkl").write_bytes(SAMPLES[:-1])
    (folder / "fetched.json").unlink()
    with pytest.raises(DatasetError, match="the official file has md5"):
        fetch_published(wanted, tmp_path, patience=QUICK)
    assert (folder / "samples.pkl").read_bytes() == SAMPLES[:-1]


def test_a_data_set_that_changed_at_its_source_is_refused(site: Site, tmp_path: Path) -> None:
    wanted = publish(site)
    site.files["/metadata/orca.md5"] = site.files["/metadata/orca.md5"].replace(b"c", b"d")
    with pytest.raises(HostError, match="publishes samples.pkl.gz with"):
        fetch_published(wanted, tmp_path, patience=QUICK)


def test_a_wrong_unpacked_file_is_refused(site: Site, tmp_path: Path) -> None:
    wanted = publish(site)
    files = (wanted.files[0].model_copy(update={"md5": "0" * 32}), wanted.files[1])
    wrong = wanted.model_copy(update={"files": files})
    with pytest.raises(HostError, match="the official file has md5 0000"):
        fetch_published(wrong, tmp_path, patience=QUICK)
    assert not (tmp_path / "processed-openorca" / "samples.pkl").exists()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("uri", "https://elsewhere.example/open_orca", "is not a folder of"),
        ("uri", "<html>", "is not a folder of"),
        ("md5", "<html>\n", "line 1"),
        ("md5", f"{'0' * 32}  ../../etc/passwd\n", "line 1"),
        ("md5", f"{'0' * 32}  /etc/passwd\n", "line 1"),
        ("md5", "\n", "lists no files"),
    ],
)
def test_metadata_that_is_something_else_is_refused(site: Site, name: str, text: str, message: str) -> None:
    wanted = publish(site)
    site.files[f"/metadata/orca.{name}"] = text.encode()
    with pytest.raises(HostError, match=message):
        read_folder(wanted.uri, patience=QUICK)


def test_an_address_without_uri_is_a_users_mistake(site: Site) -> None:
    with pytest.raises(ConfigError, match="is not the URL of a .uri file"):
        read_folder(f"{site.url}/metadata/orca.md5", patience=QUICK)


def test_the_published_name_is_asked_for_as_listed(site: Site, tmp_path: Path) -> None:
    site.files |= {"/d/a b.bin": BODY, "/metadata/d.uri": f"{site.url}/d/\n".encode()}
    site.files["/metadata/d.md5"] = f"{md5(BODY).value} *./a b.bin\n".encode()
    folder = read_folder(f"{site.url}/metadata/d.uri", patience=QUICK)
    folder.fetch("a b.bin", tmp_path / "a", patience=QUICK)
    assert (tmp_path / "a").read_bytes() == BODY
    with pytest.raises(HostError, match="does not list c.bin"):
        folder.fetch("c.bin", tmp_path / "c", patience=QUICK)
