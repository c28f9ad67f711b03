"""Tokenizers of several families: the same ids and prompts as transformers'."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.families import FAMILIES, WORDS, make_family

from weightcut.data.blocks import token_blocks
from weightcut.models.folder import folder_checkpoint, weights
from weightcut.models.tokenizer import load_tokenizer

TEXTS = (
    WORDS,
    "  \t\n\n    x = 1234567  # naïve ☃ 漢字 🙂\r\n",
    "don't<|im_end|>\n<bos> <end_of_turn>",
    " leading and trailing ",
    "",
)
CHAT = [
    {"role": "user", "content": "  Write a function.\n"},
    {"role": "assistant", "content": "Which?"},
    {"role": "user", "content": "Any {{ one }}."},
]


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_family(request.param, tmp_path_factory.mktemp(request.param))


def test_ids_texts_and_prompts_equal_those_of_transformers(folder: Path) -> None:
    from transformers import AutoTokenizer

    theirs, ours = AutoTokenizer.from_pretrained(folder), load_tokenizer(folder)
    assert ours.vocab_size == len(theirs)
    assert theirs.eos_token_id in ours.stop_ids
    for text in TEXTS:
        ids = ours.encode(text)
        assert ids == theirs(text, add_special_tokens=False).input_ids
        assert ours.encode(text, special=True) == theirs(text).input_ids
        assert ours.decode(ids, skip_special=False) == theirs.decode(ids)
        assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True)
    assert ours.has_chat_template == bool(theirs.chat_template)
    if ours.has_chat_template:
        rendered = theirs.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=True)
        assert ours.chat(CHAT, prefill="```") == rendered + "```"
        ids = theirs.apply_chat_template(CHAT, add_generation_prompt=True, return_dict=False)
        assert ours.encode(ours.chat(CHAT)) == ids


def test_a_family_is_a_checkpoint_with_all_its_weights(folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder)
    found = folder_checkpoint(folder, str(folder), "made by the tests")
    assert found.parameters == sum(p.numel() for p in model.parameters())
    if model.config.tie_word_embeddings:
        assert "lm_head.weight" not in weights(folder)


def test_windows_of_a_family_begin_as_it_expects(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    blocks = token_blocks([WORDS * 3], tokenizer, 4, 32)
    begins = set(blocks.ids[:, 0].tolist())
    assert (begins == {tokenizer.bos_id}) == tokenizer.adds_bos == folder.name.startswith("gemma3")
    for row, size in zip(blocks.ids.tolist(), blocks.text_bytes.tolist(), strict=True):
        assert len(tokenizer.decode(row[1:]).encode()) == size
