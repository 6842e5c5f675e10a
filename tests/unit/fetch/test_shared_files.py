"""Fetched files are for every user of the host, and who may not change them need not."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness_llm.fetch.disk import share_files


def test_only_files_of_other_permissions_are_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that has the right ones may be somebody else's, whose permissions only the owner changes."""
    for name, mode in (("like", 0o640), ("deep/right", 0o640), ("deep/kept", 0o600), ("deep/open", 0o666)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(mode)
    (tmp_path / "link").symlink_to("deep/kept")
    change = Path.chmod
    changed = []

    def chmod(path: Path, mode: int) -> None:
        changed.append(path.relative_to(tmp_path).as_posix())
        change(path, mode)

    monkeypatch.setattr(Path, "chmod", chmod)
    share_files(tmp_path, like=tmp_path / "like")
    assert sorted(changed) == ["deep/kept", "deep/open"]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()} == {0o640}
