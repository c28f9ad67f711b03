"""Small random-weight checkpoints of several model families, for tests without real weights."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

WORDS = """
def fibonacci(n):
    '''Return the n-th Fibonacci number.'''
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a


class Stack:
    def __init__(self, items=()):
        self.items = list(items)

    def push(self, item):
        self.items.append(item)

    def pop(self):
        if not self.items:
            raise IndexError("pop from an empty stack")
        return self.items.pop()


def is_prime(number: int) -> bool:
    if number < 2:
        return False
    return all(number % divisor != 0 for divisor in range(2, int(number**0.5) + 1))
"""

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}"
    "{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
    "{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)
QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIALS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<bos>",
    "<eos>",
    "<start_of_turn>",
    "<end_of_turn>",
)
VOCABULARY = 512


def _llama(tied: bool, *ends: str) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            tie_word_embeddings=tied,
            **_common(*ends),
        )
    )


def _qwen2() -> Any:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    return Qwen2ForCausalLM(
        Qwen2Config(
            hidden_size=96,
            intermediate_size=192,
            num_hidden_layers=4,
            num_attention_heads=6,
            num_key_value_heads=2,
            tie_word_embeddings=True,
            **_common(),
        )
    )


def _gemma3() -> Any:
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    sliding, full = "sliding_attention", "full_attention"
    return Gemma3ForCausalLM(
        Gemma3TextConfig(
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=6,
            num_attention_heads=4,
            num_key_value_heads=1,
            head_dim=32,
            query_pre_attn_scalar=32,
            sliding_window=16,
            layer_types=[sliding, sliding, full, sliding, sliding, full],
            tie_word_embeddings=True,
            **_common("<bos>", "<end_of_turn>"),
        )
    )


def _gpt2() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    common = _common()
    common["n_positions"] = common.pop("max_position_embeddings")
    return GPT2LMHeadModel(GPT2Config(n_embd=64, n_layer=4, n_head=4, **common))


def _phi() -> Any:
    from transformers import PhiConfig, PhiForCausalLM

    return PhiForCausalLM(
        PhiConfig(
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=4,
            num_attention_heads=4,
            partial_rotary_factor=0.5,
            tie_word_embeddings=False,
            **_common(),
        )
    )


def _falcon() -> Any:
    from transformers import FalconConfig, FalconForCausalLM

    return FalconForCausalLM(
        FalconConfig(hidden_size=64, num_hidden_layers=4, num_attention_heads=4, **_common())
    )


_MODELS: dict[str, Callable[[], Any]] = {
    "llama-tied": functools.partial(_llama, True),
    "llama-untied": functools.partial(_llama, False),
    "qwen2": _qwen2,
    "gemma3": _gemma3,
    "gpt2": _gpt2,
    "phi": _phi,
    "falcon": _falcon,
    "llama-spaces": functools.partial(_llama, False, "<bos>", "<eos>"),
}
_TEMPLATES = {"llama-tied": CHATML, "llama-untied": CHATML, "qwen2": CHATML, "gemma3": GEMMA}
FAMILIES: tuple[str, ...] = tuple(
    name for name in _MODELS if name not in ("falcon", "llama-spaces")
)


def make_family(name: str, folder: Path) -> Path:
    """Write a random bf16 checkpoint of that family into `folder` and return it.

    Always the same weights for a name. The families differ on purpose in what a careless exporter
    or engine gets wrong: tied and untied embeddings, biases, grouped-query attention, sliding
    windows of 16 tokens, learned positions, a bos token (gemma3), no chat template (gpt2,
    phi), layers that return tuples (falcon), a tokenizer as Llama 2 has it, which puts a
    space before a text and drops one when it decodes (llama-spaces). Weights have the scale of a
    trained model's, so that predictions are far from uniform.
    """
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(list(_MODELS).index(name))
        model = _MODELS[name]()
        _scale(model)
    model.to(torch.bfloat16).save_pretrained(folder)
    _tokenizer(name, folder)
    return folder


def _common(bos: str = "<|endoftext|>", eos: str = "<|im_end|>") -> dict[str, Any]:
    return {
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 512,
        "bos_token_id": SPECIALS.index(bos),
        "eos_token_id": SPECIALS.index(eos),
        "pad_token_id": SPECIALS.index("<|endoftext|>"),
    }


def _scale(model: Any) -> None:
    """Draw weights that keep activations of order one and spread the logits by about two."""
    import torch

    for name, value in model.named_parameters():
        if "embed" in name or "wte" in name or "wpe" in name or "lm_head.weight" in name:
            # Gemma multiplies embeddings by sqrt(hidden); its norms make up for it.
            torch.nn.init.normal_(value, std=0.3)
        elif value.ndim == 2:
            # GPT-2's Conv1D stores [in, out], all others [out, in].
            fan_in = value.shape[0] if model.config.model_type == "gpt2" else value.shape[1]
            torch.nn.init.normal_(value, std=fan_in**-0.5)
        else:
            with torch.no_grad():
                value.add_(torch.randn_like(value) * 0.1)


def _tokenizer(name: str, folder: Path) -> None:
    """Write a byte-level BPE tokenizer of VOCABULARY tokens with the family's special tokens."""
    from transformers import PreTrainedTokenizerFast

    bos, eos = {
        "gemma3": ("<bos>", "<end_of_turn>"),
        "llama-spaces": ("<bos>", "<eos>"),
    }.get(name, ("<|endoftext|>", "<|im_end|>"))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=spaced() if name == "llama-spaces" else _trained(name, bos),
        bos_token=bos,
        eos_token=eos,
        pad_token="<|endoftext|>",
        clean_up_tokenization_spaces=False,
    )
    if template := _TEMPLATES.get(name):
        tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    assert config["vocab_size"] == VOCABULARY >= len(tokenizer)


def _trained(name: str, bos: str) -> Any:
    from tokenizers import (
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
        trainers,
    )

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if name == "qwen2":
        # transformers rebuilds these two from the model type, whatever the file says.
        tokenizer.normalizer = normalizers.NFC()
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(QWEN2_SPLIT), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIALS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        min_frequency=1,
        show_progress=False,
    )
    tokenizer.train_from_iterator([WORDS, Path(functools.__file__).read_text()], trainer)
    if name == "gemma3":
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, SPECIALS.index(bos))]
        )
    return tokenizer


def spaced() -> Any:
    """Return a tokenizer as Llama 2 has it: spaces as `▁`, one before every text, bytes as tokens.

    Its decoder drops the first space of what it is given.
    """
    from tokenizers import (
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
        trainers,
    )

    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIALS) - 256, min_frequency=1, show_progress=False
    )
    text = WORDS + Path(functools.__file__).read_text()
    learner.train_from_iterator(text.splitlines(), trainer)
    learned = json.loads(learner.to_str())["model"]
    pieces = [*SPECIALS, *(f"<0x{byte:02X}>" for byte in range(256)), *learned["vocab"]]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={piece: i for i, piece in enumerate(pieces)},
            merges=[tuple(pair) for pair in learned["merges"]],
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.add_special_tokens(list(SPECIALS))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", SPECIALS.index("<bos>"))]
    )
    return tokenizer
