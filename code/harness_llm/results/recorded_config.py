"""The configuration that a run keeps, read without being judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness_llm.config.nodes import UnreadableError, parse
from harness_llm.errors import FolderError
from harness_llm.files import read_text


def recorded_config(path: Path) -> dict[str, Any]:
    """The configuration that a run wrote for a scenario; empty where it kept none.

    Raises:
        FolderError: The file is damaged.
    """
    try:
        found = parse(read_text(path), str(path))[0].plain()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, UnreadableError) as error:
        raise FolderError(f"{path}: cannot be read: {error}") from error
    found = found if isinstance(found, dict) else {}
    if not isinstance(found.get("llm_config") or {}, dict):
        raise FolderError(f"{path}: llm_config is not a mapping", "Is this the configuration of the run?")
    return found
