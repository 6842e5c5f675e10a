"""Secrets by form and by name; and what only looks like one."""

from __future__ import annotations

import pytest

from harness_llm.secret_values import MASK, is_secret_name, know_environment, masked, masked_document

PLANTED = {
    "hub": "hf_" + "AbCdEfGhIj" * 3,
    "api": "sk-proj-" + "a1B2c3D4" * 4,
    "github": "ghp_" + "0123456789abcdef" * 2,
    "aws": "AKIA" + "ABCDEFGH12345678",
    "bearer": "Bearer " + "abcDEF123456-._~",
    "url": "https://user:" + "pa55word@host.example/x",
    "user": "https://" + "0pqRsT9x@host.example/x",
    "odd url": "https://user:" + "pa55@word@host.example/x",
    "jwt": "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
    "stripe": "sk_live_" + "Zy9Xw8Vu" * 3,
    "npm": "npm_" + "Zy9Xw8Vu" * 4,
    "pypi": "pypi-AgEIcHlwaS5vcmc" + "Zy9Xw8Vu" * 4,
    "vault": "hvs." + "Zy9Xw8Vu" * 3,
    "docker": "dckr_pat_" + "Zy9Xw8Vu" * 3,
    "mail": "SG." + "Zy9Xw8Vu" * 2 + "." + "Zy9Xw8Vu" * 3,
    "key": "-----BEGIN RSA PRIVATE " + "KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
}


@pytest.mark.parametrize("kind", PLANTED)
def test_every_common_form_is_masked_wherever_it_stands(kind: str) -> None:
    secret = PLANTED[kind]
    for text in (secret, f'--set "llm_config.x={secret}"', f"{{'a': '{secret}'}}"):
        seen = masked(text)
        assert MASK in seen
        for part in (
            "AbCdEf",
            "a1B2",
            "0123456789abcdef",
            "ABCDEFGH",
            "abcDEF",
            "pa55",
            "0pqR",
            "eyJz",
            "MIIE",
            "Zy9X",
        ):
            assert part not in seen
    assert masked(PLANTED["url"]) == f"https://{MASK}@host.example/x"


@pytest.mark.parametrize(
    "text",
    ["/model/llama2-70b-chat-hf", "max_num_batched_tokens: 8192", "http://127.0.0.1:8000/v1", "task-based",
     "hf_overrides", "a risk-free disk-to-disk copy", "sha256:0123456789abcdef0123456789abcdef",
     "the bearer of news", "https://host/a@b", "http://me@host/x", "f'https://u:{token}@host'"],
)  # fmt: skip
def test_ordinary_words_stay(text: str) -> None:
    assert masked(text) == text


def test_names() -> None:
    for name in ("HF_TOKEN", "HUGGINGFACE_ACCESS_TOKEN", "api_key", "VLLM_API_KEY", "hf_token", "PASSWORD",
                 "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "db.password", "client-secret", "HF_TOKEN_2",
                 "HF_TOKEN_READ", "API_KEY_1", "PGPASSWORD", "SMTP_PASS", "OPENAI_KEY", "KAGGLE_KEY",
                 "AZURE_STORAGE_KEY", "AZURE_STORAGE_CONNECTION_STRING", "SENTRY_DSN", "Authorization",
                 "SECRET_VALUE", "COOKIES", "AccountKey"):  # fmt: skip
        assert is_secret_name(name), name
    for name in ("eos_token", "pad_token", "tokenizer", "max_tokens", "min_tokens", "api_key_env", "monkey",
                 "engine_key", "PATH", "eos_token_id", "image_token", "first_token", "TOKENIZERS_PARALLELISM",
                 "sort_key", "VLLM_CACHE_KEY", "PUBLIC_KEY", "compass", "bypass", "KEYBOARD"):  # fmt: skip
        assert not is_secret_name(name), name


def test_what_stands_under_the_name_of_a_secret_is_masked_and_known_from_then_on() -> None:
    document = {
        "engine_env": {"MY_TOKEN": "plain-words-here", "N": 3},
        "list": [{"password": "abc"}],
        "x": "y",
    }
    assert masked_document(document) == {
        "engine_env": {"MY_TOKEN": MASK, "N": 3}, "list": [{"password": MASK}], "x": "y"
    }  # fmt: skip
    assert masked("it was plain-words-here") == f"it was {MASK}"
    assert masked("abc") == "abc"


def test_values_of_the_environment_are_known_but_for_paths_and_numbers() -> None:
    know_environment(
        {"A_TOKEN": "correct-horse", "B_TOKEN": "123456789", "C_TOKEN": "/etc/hostname", "D": "staple-d"}
    )
    assert (
        masked("correct-horse 123456789 /etc/hostname staple-d") == f"{MASK} 123456789 /etc/hostname staple-d"
    )
