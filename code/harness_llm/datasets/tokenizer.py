"""A checkpoint's own tokenizer: chat prompts to token ids, token ids back to text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness_llm.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt


class Tokenizer:
    """The tokenizer in a checkpoint folder, read from disk only; nothing is fetched.

    Args:
        folder: Checkpoint folder with the tokenizer's files in Hugging Face form.

    Raises:
        ModelError: The folder is missing, or holds no tokenizer that transformers can load.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise ModelError(f"{folder}: no such checkpoint folder", "Get the model with download_model.py.")
        from transformers import AutoTokenizer  # seconds to import, and not every data set needs it

        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise ModelError(
                f"{folder}: holds no tokenizer that transformers can load: {error}",
                "The folder needs tokenizer.json or tokenizer.model, and tokenizer_config.json.",
            ) from error
        self.folder = folder

    @property
    def has_chat_template(self) -> bool:
        """Whether the checkpoint says how a conversation becomes a prompt."""
        return bool(self._tokenizer.chat_template)

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text, with the special tokens that the tokenizer adds by itself."""
        return list(self._tokenizer(text)["input_ids"])

    def encode_chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Token ids of a conversation in the chat template, up to where the model's answer begins.

        Raises:
            ModelError: The tokenizer has no chat template.
            ValueError: The template refuses this conversation, e.g. an unknown role.
        """
        if not self.has_chat_template:
            raise ModelError(
                f"{self.folder}: the tokenizer has no chat template",
                "Use a chat checkpoint, or give plain prompts or token ids.",
            )
        from jinja2 import TemplateError

        try:
            encoded = self._tokenizer.apply_chat_template(
                [dict(message) for message in messages],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
            )
        except TemplateError as error:
            raise ValueError(f"the chat template refuses it: {error}") from error
        return list(encoded["input_ids"])

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
