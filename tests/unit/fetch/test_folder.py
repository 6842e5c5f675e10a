"""Records, replacement in one step, digests and places."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import threading
from pathlib import Path

import pytest

from harness_llm.errors import FolderError, HostError
from harness_llm.fetch import places
from harness_llm.fetch.digest import Digest
from harness_llm.fetch.disk import disk_errors, require_space, size_below
from harness_llm.fetch.folder import (
    RECORD_NAME,
    exclusive,
    is_fetched,
    new_folder,
    read_record,
    write_record,
)
from harness_llm.files import file_digest

SOURCE = {"wheel": "x==1", "conversion": 1}


def filled(folder: Path) -> Path:
    folder.mkdir()
    (folder / "a.bin").write_bytes(b"aaaa")
    (folder / "sub").mkdir()
    (folder / "sub" / "b.bin").write_bytes(b"bb")
    write_record(folder, SOURCE)
    return folder


def test_a_recorded_folder_is_found(tmp_path: Path) -> None:
    folder = filled(tmp_path / "f")
    assert is_fetched(folder, SOURCE)
    assert is_fetched(folder, SOURCE, rehash=True)
    assert set(json.loads((folder / RECORD_NAME).read_text())["files"]) == {"a.bin", "sub/b.bin"}


def test_of_another_source_it_is_another_folder(tmp_path: Path) -> None:
    assert not is_fetched(filled(tmp_path / "f"), SOURCE | {"conversion": 2})


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", "7", '{"format": 1}', '{"format": 2, "source": {}, "files": {}}',
        '{"format": 1, "source": {}, "files": []}', '{"format": 1, "source": "x", "files": {}}',
    ],
)  # fmt: skip
def test_a_broken_record_is_no_record(tmp_path: Path, text: str) -> None:
    folder = filled(tmp_path / "f")
    (folder / RECORD_NAME).write_text(text)
    assert not is_fetched(folder, SOURCE) and read_record(folder) is None


def test_a_missing_shorter_or_changed_file_is_noticed(tmp_path: Path) -> None:
    folder = filled(tmp_path / "f")
    (folder / "a.bin").write_bytes(b"aaab")
    os.utime(folder / "a.bin", ns=(1, 1))
    assert not is_fetched(folder, SOURCE)
    (folder / "a.bin").write_bytes(b"aaaa")
    assert is_fetched(folder, SOURCE), "written again with the same bytes, it is the same file"
    (folder / "sub" / "b.bin").write_bytes(b"b")
    assert not is_fetched(folder, SOURCE)
    (folder / "sub" / "b.bin").unlink()
    assert not is_fetched(folder, SOURCE)


def test_rehashing_sees_what_the_time_of_change_hides(tmp_path: Path) -> None:
    folder = filled(tmp_path / "f")
    time = (folder / "a.bin").stat().st_mtime_ns
    (folder / "a.bin").write_bytes(b"aaab")
    os.utime(folder / "a.bin", ns=(time, time))
    assert is_fetched(folder, SOURCE)
    assert not is_fetched(folder, SOURCE, rehash=True)


def test_hidden_files_are_not_recorded(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    (folder / ".cache").mkdir(parents=True)
    (folder / ".cache" / "x").write_bytes(b"x")
    (folder / ".lock").write_bytes(b"")
    write_record(folder, SOURCE)
    assert json.loads((folder / RECORD_NAME).read_text())["files"] == {}


def test_a_new_folder_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    destination = tmp_path / "f"
    with pytest.raises(RuntimeError), new_folder(destination) as partial:
        (partial / "half").write_text("x")
        raise RuntimeError
    assert not destination.exists()
    with new_folder(destination) as partial:
        assert list(partial.iterdir()) == [], "what the broken attempt left is gone"
        write_record(partial, SOURCE)
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_a_new_folder_replaces_an_older_one_of_ours_and_no_other(tmp_path: Path) -> None:
    destination = filled(tmp_path / "f")
    with new_folder(destination) as partial:
        write_record(partial, {"wheel": "x==2"})
    assert sorted(path.name for path in destination.iterdir()) == [RECORD_NAME]
    (destination / RECORD_NAME).unlink()
    (destination / "precious").write_text("x")
    with pytest.raises(FolderError, match="was not made by this command"), new_folder(destination):
        pytest.fail("the body must not run")
    assert (destination / "precious").read_text() == "x"


def test_one_at_a_time(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with exclusive(tmp_path):
            order.append("second")

    with exclusive(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


@pytest.mark.parametrize("below", ["", "deeper", "deeper/still"])
def test_a_path_that_leads_through_a_file_is_a_users_mistake(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(FolderError, match="cannot be made") as caught, exclusive(tmp_path / "file" / below):
        pass
    assert "LAB_MODEL" in caught.value.remedy and (tmp_path / "file").read_text() == "x"


def test_what_cannot_fit_is_refused(tmp_path: Path) -> None:
    require_space(tmp_path / "not" / "yet" / "there", 1)
    with pytest.raises(HostError, match="are needed"):
        require_space(tmp_path, 1 << 60)


@pytest.mark.parametrize(
    ("number", "message"),
    [(errno.ENOSPC, "disk is full"), (errno.EDQUOT, "disk is full"), (errno.EROFS, "may not be")],
)
def test_the_disks_errors_become_ours(number: int, message: str, tmp_path: Path) -> None:
    with pytest.raises(HostError, match=message), disk_errors(tmp_path):
        raise OSError(number, os.strerror(number))


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), disk_errors(tmp_path):
        (tmp_path / "x").read_text()


def test_digests_are_those_of_the_usual_tools(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"what is up, doc?")
    # The example of git's own book, chapter Git Internals: Git Objects.
    assert Digest("git-sha1", "bd9dbf5aae1a3862dd1526723246b20206e5fc37").matches(path)
    assert file_digest(path) == hashlib.sha256(b"what is up, doc?").hexdigest()
    digest = Digest("md5", hashlib.md5(b"what is up, doc?").hexdigest())
    assert digest.matches(path)
    path.write_bytes(b"")
    assert not digest.matches(path)
    assert digest.of(path) == Digest("md5", "d41d8cd98f00b204e9800998ecf8427e")


def test_places_follow_the_environment_then_the_container_then_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "_CONTAINER_MARKS", (tmp_path / "mark",))
    assert places.model_root({}) == Path("/data/inference/model")
    assert places.dataset_root({"LAB_DATASET": " "}) == Path("/data/inference/data")
    assert places.model_root({"LAB_MODEL": f"{tmp_path}/m/"}) == tmp_path / "m"
    monkeypatch.chdir(tmp_path)
    assert places.dataset_root({"LAB_DATASET": "d"}) == tmp_path / "d"
    (tmp_path / "mark").touch()
    assert places._root({}, "LAB_MODEL", tmp_path, Path("/host")) == tmp_path
    assert places._root({}, "LAB_MODEL", tmp_path / "absent", Path("/host")) == Path("/host")


def test_the_record_agrees_with_sha256sum(tmp_path: Path) -> None:
    folder = filled(tmp_path / "f")
    output = subprocess.run(
        ["sha256sum", folder / "a.bin"], capture_output=True, text=True, check=True
    ).stdout
    recorded = json.loads((folder / RECORD_NAME).read_text())["files"]["a.bin"]["sha256"]
    assert recorded == output.split()[0]


def test_a_file_that_vanishes_while_sizes_are_added_counts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "gone").write_bytes(b"12345")

    def is_file(path: Path) -> bool:
        if path.name == "gone":
            path.unlink()  # as a download renames its part, just after it was seen
        return True

    monkeypatch.setattr(type(tmp_path), "is_file", is_file)
    assert size_below(tmp_path) == 5
