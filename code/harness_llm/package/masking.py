"""No secret leaves with a tree: what was copied into it is searched, and masked where it holds one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness_llm.files import LARGEST_TEXT, read_regular
from harness_llm.secret_values import without_tokens


def mask_files(folder: Path) -> Iterator[str]:
    """Mask secrets in every text below a folder, and name the files that held one.

    A secret is what stands in a variable of this process that is named as one, such as HF_TOKEN, or has the
    form of one, such as `hf_...`. What is no UTF-8 or larger than any text stays as it is.
    """
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST_TEXT:
            continue
        content = read_regular(path)
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            continue
        if (rest := without_tokens(text)) != text:
            path.write_bytes(rest.encode("utf-8"))
            yield str(path.relative_to(folder))
