"""No secret leaves with a tree: what was copied into it is searched, and masked where it holds one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness_llm.files import LARGEST_TEXT, read_regular
from harness_llm.secret_values import without_tokens


def mask_files(folder: Path) -> Iterator[str]:
    """Mask secrets in every text below a folder, and name the files that held one.

    A secret is the value of an environment variable whose name marks it as one, such as HF_TOKEN, or a word
    that looks like one, such as `hf_...`. Files that are not UTF-8, or too large to be text, are left alone.
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
