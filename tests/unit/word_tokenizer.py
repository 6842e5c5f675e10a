"""A checkpoint folder with a tokenizer of a few words, a begin token and a chat template."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tokenizers
import transformers

if TYPE_CHECKING:
    from pathlib import Path

TEMPLATE = (
    "<s>{% for m in messages %}<u>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<a>{% endif %}"
)
_WORDS = ["<unk>", "<s>", "</s>", "<u>", "<a>", "hello", "you", "bread", "and", "cheese", "2024"]


def save_tokenizer(folder: Path, template: str = TEMPLATE) -> Path:
    """Save it into a folder, and give the folder back."""
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: n for n, word in enumerate(_WORDS)}, unk_token="<unk>")
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    whole = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        additional_special_tokens=["<u>", "<a>"], chat_template=template,
    )  # fmt: skip
    whole.save_pretrained(folder)
    return folder
