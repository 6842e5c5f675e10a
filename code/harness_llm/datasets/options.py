"""What a caller may ask of every data set loader."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DatasetOptions"]


@dataclass(frozen=True, slots=True)
class DatasetOptions:
    """Settings of a data set that are not its path and not its output limits.

    Attributes:
        chat_template: Wrap plain prompt strings in the model's chat template, where its tokenizer has one
            (`jsonl` only; `humaneval` always does).
        shape: `count:input:output` in tokens, or `llama2-70b` (`synthetic` only).
        seed: Seed of everything drawn at random (`synthetic` only).
        vocab_size: Token ids are below this (`synthetic` only).
        max_prompt_tokens: Longest prompt that is accepted, tokens; None sets no limit here
            (`validate_fit` checks prompt plus answer against the model).
        samples: Use only that many samples, the first ones; None uses all.
        official: The file must be the official one, by sample count and md5 (`openorca` only).
    """

    chat_template: bool = True
    shape: str = ""
    seed: int = 0
    vocab_size: int = 32_000
    max_prompt_tokens: int | None = None
    samples: int | None = None
    official: bool = False
