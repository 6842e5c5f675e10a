from __future__ import annotations

from pathlib import Path

import pytest

from harness_llm.system.network_path import bandwidth_document


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("bandwidth.md", b"400 Gbit/s per NIC", True),
        ("network_Bandwidth.pdf", b"%PDF", True),
        ("README.md", "2 NICs, BANDWIDTH 50 GB/s".encode("utf-16-be") + b" bandwidth", True),
        ("bandwidth.md", b"", False),
        ("calibration.md", b"per tensor", False),
        ("bandwidth.png", b"bandwidth", False),
    ],
)
def test_what_describes_the_path_from_the_network(
    tmp_path: Path, name: str, content: bytes, found: bool
) -> None:
    (tmp_path / "a folder.md").mkdir()
    (tmp_path / "bandwidth.txt").symlink_to(tmp_path / name)
    (tmp_path / name).write_bytes(content)
    assert bandwidth_document(tmp_path) == (tmp_path / name if found else None)


def test_no_folder_describes_nothing(tmp_path: Path) -> None:
    assert bandwidth_document(tmp_path / "absent") is None
    (tmp_path / "file").write_text("bandwidth")
    assert bandwidth_document(tmp_path / "file") is None
