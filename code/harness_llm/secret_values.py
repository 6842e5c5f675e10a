"""Secrets: what is one, by its name or by its form, and how a text looks without it.

Masked is at the door: what is written to records, configurations, logs and messages goes through here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MASK = "<secret>"

_SHORTEST = 8  # characters: a shorter value would be found in texts that do not mean it
_WHICH = r"(?:[_-]?(?:\d+|value|read|write|ro|rw|prod|dev|test|old|new))?$"  # of several: HF_TOKEN_2
_NAME = re.compile(
    r"(?:^|[_.-])(?:\w*token|\w*secrets?|\w*passwords?|\w*passwd|\w*passphrase|pwd|pass|pat|credentials?"
    r"|auth|authorization|bearer|cookies?|jwt|dsn|session[_-]?id|connection[_-]?string"
    r"|(?:api|access|private|signing|encryption|account|secret|service)[_-]?keys?"
    rf"|(?:access|secret)[_-]?key[_-]?id){_WHICH}",
    re.IGNORECASE,
)
_KEY = re.compile(
    rf"(?!.*(?:GPG|PUBLIC|PRIMARY|FOREIGN|CACHE|SORT|HASH|KV)_KEY)[A-Z][A-Z0-9_]*_KEYS?{_WHICH}"
)
"""A variable that some program reads: OPENAI_KEY."""
_NO_SECRET_NAME = re.compile(
    r"(?:^|_)(?:\w*[_-])?(?:max|min|num|eos|bos|pad|unk|stop|sep|cls|mask|begin|end|start|first|last|special"
    rf"|image|audio|video|new)[_-]?\w*token{_WHICH}",
    re.I,
)
_FORMS = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"hf_[A-Za-z0-9]{20,}"
    r"|sk-[A-Za-z0-9_-]{16,}"
    r"|gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{16,}"
    r"|gl(?:pat|rt|dt|oas|soat|ptt|cbt)-[A-Za-z0-9_-]{16,}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}"
    r"|AIza[A-Za-z0-9_-]{30,}"
    r"|nvapi-[A-Za-z0-9_-]{16,}"
    r"|[rs]k_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9]{16,}"
    r"|(?:npm|dckr_pat|gsk|r8|dop_v1|lin_api|shpat)_[A-Za-z0-9_-]{20,}"
    r"|pypi-Ag[A-Za-z0-9_-]{30,}|hv[sb]\.[A-Za-z0-9_-]{20,}|ya29\.[A-Za-z0-9._-]{16,}"
    r"|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}|AGE-SECRET-KEY-1[A-Z0-9]{20,}"
    r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"
    r")"
    r"|(?<=\bBearer )[A-Za-z0-9._~+/=-]{8,}|(?<=\bBasic )[A-Za-z0-9+/=]{8,}"
    r"|(?<=://)[^\s/:'\"<>{}]*:[^\s/'\"<>{}]+(?=@)"
    r"|(?:(?<=http://)|(?<=https://))[^\s/:'\"<>{}]{8,}(?=@)"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.IGNORECASE,
)

_ASSIGNED = re.compile(r"([\w.-]+)(=[\"']?)([^\s\"',;&)}\]]+)")
_NO_VALUES = ("None", "True", "False", "null", "true", "false", MASK)

_known: set[str] = set()


def is_secret_name(name: str) -> bool:
    """Whether a variable or a key of this name holds a secret, such as HF_TOKEN or api_key."""
    return bool(_NAME.search(name) or _KEY.fullmatch(name)) and not _NO_SECRET_NAME.search(name)


def know(value: str) -> None:
    """Mask this value wherever it is met from now on; a short one or a number is no secret to look for."""
    if len(value) >= _SHORTEST and not value.isdigit():
        _known.add(value)


def know_environment(environment: Mapping[str, str] = os.environ) -> None:
    """Know the value of each variable whose name says that it is a secret."""
    for name, value in environment.items():
        if is_secret_name(name) and not _is_path(value):
            know(value)


def _is_path(value: str) -> bool:
    """Whether it names a file: a variable may say where the secret lies."""
    try:
        return value.startswith(("/", ".", "~")) and Path(value).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return False


def any_known() -> bool:
    """Whether there is a value to look for."""
    return bool(_known)


def masked(text: str) -> str:
    """The text without secrets: those that are known, those of a form that secrets have, `name=value`."""
    return _ASSIGNED.sub(_masked_value, without_tokens(text))


def without_tokens(text: str) -> str:
    """The text of a program without secrets: as `masked`, but `name=value` is ordinary there."""
    for value in sorted(_known, key=len, reverse=True):
        text = text.replace(value, MASK)
    return _FORMS.sub(MASK, text)


def _masked_value(found: re.Match[str]) -> str:
    name, sign, value = found.groups()
    if not is_secret_name(name) or value in _NO_VALUES:
        return found.group()
    return f"{name}{sign}{MASK}"


def masked_document(document: Any, name: str = "") -> Any:
    """A JSON-like document without secrets: also what stands under the name of one, which is known then."""
    if isinstance(document, dict):
        return {key: masked_document(value, str(key)) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [masked_document(value, name) for value in document]
    if isinstance(document, str) and document:
        if is_secret_name(name) and not _is_path(document):
            know(document)
            return MASK
        return masked(document)
    return document


def hidden(document: Any) -> tuple[Any, dict[str, str]]:
    """A JSON-like document in which each text with a secret is a place holder, and the texts by these."""
    secrets: dict[str, str] = {}

    def walk(value: Any, name: str) -> Any:
        if isinstance(value, dict):
            return {key: walk(part, str(key)) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [walk(part, name) for part in value]
        if isinstance(value, str) and masked_document(value, name) != value:
            holder = f"{MASK}#{len(secrets)}"
            secrets[holder] = value
            return holder
        return value

    return walk(document, ""), secrets


def revealed(document: Any, secrets: Mapping[str, str]) -> Any:
    """The document that `hidden` was given.

    Raises:
        ValueError: A secret of it is missing.
    """
    if isinstance(document, dict):
        return {key: revealed(value, secrets) for key, value in document.items()}
    if isinstance(document, list):
        return [revealed(value, secrets) for value in document]
    if isinstance(document, str) and document.startswith(f"{MASK}#"):
        if document not in secrets:
            raise ValueError(f"{document} stands for a secret, which is not kept; start the run again")
        return secrets[document]
    return document
