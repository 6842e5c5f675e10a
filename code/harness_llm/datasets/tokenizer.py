"""A checkpoint's own tokenizer: chat prompts to token ids, token ids back to text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from harness_llm.engines.vllm_arguments import as_read
from harness_llm.errors import ModelError, named

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

MARKERS_REMEDY = (
    "Set harness_config.dataset.chat_template: false to take them as they are, or write messages."
)
TEMPLATE_DATE = datetime(2024, 7, 26)  # noqa: DTZ001 - a date, in no place
"""What a chat template that writes today's date writes here, so that a data set is the same every day; the
one that Llama's own templates fall back to."""

_MODES = ("auto", "hf", "mistral")
_MARKER = re.compile(r"<[|｜][^<>|｜]{1,40}[|｜]>|\[/?[A-Z_]{3,20}\]|</?[a-z]+_of_turn>")
_PROBE = "a text that no template holds"


@dataclass(frozen=True)
class TokenizerChoice:
    """Which tokenizer, by the engine's own arguments.

    Attributes:
        folder: Folder with the tokenizer's files.
        mode: vLLM's `tokenizer_mode`.
        trust_remote_code: Whether Python code beside the files may run.
    """

    folder: Path
    mode: str = "auto"
    trust_remote_code: bool = False

    @classmethod
    def of(cls, folder: Path, arguments: Mapping[str, Any]) -> TokenizerChoice:
        """The tokenizer that vLLM would take for a model in `folder` with these arguments."""
        arguments = as_read(arguments)
        other = arguments.get("tokenizer")
        return cls(
            folder if other is None else type(folder)(str(other)),
            str(arguments.get("tokenizer_mode") or "auto"),
            bool(arguments.get("trust_remote_code")),
        )


class Tokenizer:
    """The tokenizer in a checkpoint folder, read from disk only; nothing is fetched.

    Args:
        choice: Folder with the tokenizer's files, and how they are read.

    Raises:
        ModelError: The folder is missing, or holds no tokenizer that transformers can load.
    """

    def __init__(self, choice: TokenizerChoice | Path) -> None:
        choice = choice if isinstance(choice, TokenizerChoice) else TokenizerChoice(choice)
        self.folder = choice.folder
        self._notes: dict[str, None] = {}
        if not self.folder.is_dir():
            raise ModelError(
                f"{self.folder}: no such checkpoint folder", "Get the model with download_model.py."
            )
        try:
            self._tokenizer = _load(choice)
        except BaseException as error:
            if not _is_of_library(error):
                raise
            if not choice.trust_remote_code and "trust_remote_code" in str(error):
                raise ModelError(
                    f"{self.folder}: its tokenizer is Python code in that folder",
                    "Read it; llm_config.trust_remote_code: true lets it run.",
                ) from error
            raise ModelError(
                f"{self.folder}: holds no tokenizer that transformers can load: {named(error)}",
                "The folder needs tokenizer.json or tokenizer.model, and tokenizer_config.json; "
                "llm_config.tokenizer names another one.",
            ) from error

    @property
    def has_chat_template(self) -> bool:
        """Whether the checkpoint says how a conversation becomes a prompt."""
        return bool(getattr(self._tokenizer, "chat_template", None)) or _is_mistral(self._tokenizer)

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know of the prompts that were made, a sentence each."""
        return tuple(self._notes)

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text, with the special tokens that the tokenizer adds; begun once."""
        return self._begun_once(self._tokenizer(text)["input_ids"])

    def encode_chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Token ids of a conversation in the chat template, up to where the model's answer begins.

        Raises:
            ModelError: The tokenizer has no chat template.
            ValueError: The template refuses this conversation, e.g. an unknown role.
        """
        encoded = self._apply(messages, tokenize=True, return_dict=True)
        return self._begun_once(encoded["input_ids"])

    def chat_marker(self, text: str) -> str:
        """The first chat marker in a text, of this model's template or another one; empty without one."""
        found = _MARKER.search(text)
        own = [marker for marker in self._markers if marker in text]
        begin = getattr(self._tokenizer, "bos_token", None)
        if begin and text.lstrip().startswith(begin):
            return str(begin)
        return min([*own, *([found[0]] if found else [])], key=text.index, default="")

    def decode(
        self, answers: Iterable[Sequence[int] | npt.NDArray[np.int32]], *, special_tokens: bool = False
    ) -> list[str]:
        """Text of each answer.

        Args:
            answers: Token ids.
            special_tokens: Whether special tokens are spelled out instead of left out.
        """
        ids = [[int(token) for token in answer] for answer in answers]
        return list(self._tokenizer.batch_decode(ids, skip_special_tokens=not special_tokens))

    def _apply(self, messages: Sequence[Mapping[str, str]], **options: Any) -> Any:
        if not self.has_chat_template:
            raise ModelError(
                f"{self.folder}: the tokenizer has no chat template",
                "Use a chat checkpoint, or give plain prompts or token ids.",
            )
        clock = {} if _is_mistral(self._tokenizer) else {"strftime_now": self._fixed_date}
        try:
            return self._tokenizer.apply_chat_template(
                [dict(message) for message in messages], add_generation_prompt=True, **clock, **options
            )
        except BaseException as error:
            if isinstance(error, ValueError) or not _is_of_library(error):
                raise
            raise ValueError(f"the chat template refuses it: {error or type(error).__name__}") from error

    def _fixed_date(self, form: str) -> str:
        """What the chat template gets for the day of today, for what it is given wins over what it finds."""
        written = TEMPLATE_DATE.strftime(form)
        self._notes[f"the chat template writes today's date; it is {written} in every prompt, on any day"] = (
            None
        )
        return written

    @cached_property
    def _markers(self) -> frozenset[str]:
        """Special tokens that the template puts around a text, without those that begin or end all texts."""
        around = str(self._apply([{"role": "user", "content": _PROBE}], tokenize=False))
        tokenizer = self._tokenizer
        plain = {
            getattr(tokenizer, name, None) for name in ("bos_token", "eos_token", "unk_token", "pad_token")
        }
        special = {str(token) for token in getattr(tokenizer, "all_special_tokens", ())}
        return frozenset(token for token in special - plain if token in around)

    def _begun_once(self, ids: Sequence[int]) -> list[int]:
        """The ids, begun by one begin token: a text that holds it gets another one from the tokenizer."""
        begin, start = getattr(self._tokenizer, "bos_token_id", None), 0
        while begin is not None and list(ids[start : start + 2]) == [begin, begin]:
            start += 1
        return list(ids[start:])


def _load(choice: TokenizerChoice) -> Any:
    """The tokenizer; transformers is imported here, for it takes seconds and not every data set needs it."""
    import transformers

    options = {"local_files_only": True}
    if choice.mode not in _MODES:
        raise ValueError(
            f"llm_config.tokenizer_mode {choice.mode!r} is vLLM's own code; write the samples as token_ids"
        )
    if choice.mode == "mistral":
        return transformers.MistralCommonBackend.from_pretrained(str(choice.folder), **options)
    # False, not left out: transformers would ask on the terminal.
    return transformers.AutoTokenizer.from_pretrained(
        str(choice.folder), trust_remote_code=choice.trust_remote_code, **options
    )


def _is_of_library(error: BaseException) -> bool:
    """Whether damaged files may cause it: any Exception, or Rust's panic, which is none."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def _is_mistral(tokenizer: Any) -> bool:
    return type(tokenizer).__name__ == "MistralCommonBackend"
