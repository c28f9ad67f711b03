"""The tokenizer inside a GGUF file, as the files of a Hugging Face folder.

What splits text before the byte-pair merges is only named in a GGUF file (`tokenizer.ggml.pre`);
the table below holds the splits as llama.cpp defines them (its `llama-vocab.cpp`). `smollm` was
compared with llama.cpp on 1.27 million tokens without a difference; the others were not compared.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weightcut.errors import BrokenInput, UsageError, nearest

_CASES = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# Name: "gpt2" for GPT-2's own split, "digits" for the same after cutting digits apart, or a regex.
SPLITS: Mapping[str, str] = {
    "gpt-2": "gpt2",
    "llama-bpe": rf"{_CASES}|\p{{N}}{{1,3}}{_REST}",
    "qwen2": rf"{_CASES}|\p{{N}}{_REST}",
    "smollm": "digits",
    "starcoder": "digits",
}
_CONTROL, _USER_DEFINED = 3, 4
_ROLES = {"bos": "bos", "eos": "eos", "unknown": "unk", "padding": "pad"}


def write_tokenizer(metadata: Mapping[str, Any], folder: Path, place: Path) -> None:
    """Write tokenizer.json, tokenizer_config.json and chat_template.jinja into `folder`.

    Raises UsageError for a tokenizer of a kind that is not known to come out equal.
    """
    model = metadata.get("tokenizer.ggml.model")
    if model != "gpt2":
        raise UsageError(
            f"its tokenizer is of the kind {model!r}; only byte-level BPE ('gpt2') is converted",
            place=str(place),
            cure="use the model's original Hugging Face folder",
        )
    tokens = metadata.get("tokenizer.ggml.tokens")
    merges = metadata.get("tokenizer.ggml.merges")
    if not _texts(tokens) or not _texts(merges):
        raise BrokenInput("its tokenizer lacks tokens or merges", place=str(place))
    assert isinstance(tokens, list)
    assert isinstance(merges, list)
    tokenizer = byte_pair(metadata, tokens, merges, place)
    tokenizer.save(str(folder / "tokenizer.json"))
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
    }
    for role, index in special_ids(metadata, place).items():
        config[f"{role}_token"] = tokens[index]
    text = json.dumps(config, indent=2, ensure_ascii=False)
    (folder / "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")
    if template := metadata.get("tokenizer.chat_template"):
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")


def special_ids(metadata: Mapping[str, Any], place: Path) -> dict[str, int]:
    """Return the ids of the roles `bos`, `eos`, `unk` and `pad` that the file names."""
    count = len(metadata.get("tokenizer.ggml.tokens") or ())
    found = {}
    for name, role in _ROLES.items():
        key = f"tokenizer.ggml.{name}_token_id"
        if (index := metadata.get(key)) is not None:
            if type(index) is not int or not 0 <= index < count:
                raise BrokenInput(f"its {key} is {index!r} of {count} tokens", place=str(place))
            found[role] = index
    return found


def byte_pair(
    metadata: Mapping[str, Any], tokens: list[str], merges: list[str], place: Path
) -> Any:
    """Return the tokenizer that a GGUF file's metadata describes."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors

    name = metadata.get("tokenizer.ggml.pre", "")
    if name not in SPLITS:
        raise UsageError(
            f"its tokenizer splits text by the rule {name!r}; {nearest(name, SPLITS)}",
            place=str(place),
            cure="use the model's original Hugging Face folder",
        )
    pairs = [(first, second) for first, _, second in (m.partition(" ") for m in merges)]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    if len(vocabulary) != len(tokens) or not all(
        a in vocabulary and b in vocabulary and a + b in vocabulary for a, b in pairs
    ):
        raise BrokenInput("its tokenizer has doubled tokens or malformed merges", place=str(place))
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=pairs, ignore_merges=name == "llama-bpe")
    )
    if name == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = _splitter(SPLITS[name])
    tokenizer.decoder = decoders.ByteLevel()
    kinds = metadata.get("tokenizer.ggml.token_type") or []
    tokenizer.add_tokens(
        [
            AddedToken(token, special=kind == _CONTROL, normalized=False)
            for token, kind in zip(tokens, kinds, strict=False)
            if kind in (_CONTROL, _USER_DEFINED)
        ]
    )
    bos = special_ids(metadata, place).get("bos")
    # llama.cpp adds a begin-of-text id for this one split where the file says nothing.
    if metadata.get("tokenizer.ggml.add_bos_token", name == "llama-bpe") and bos is not None:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{tokens[bos]} $A", special_tokens=[(tokens[bos], bos)]
        )
    return tokenizer


def _splitter(split: str) -> Any:
    from tokenizers import Regex, pre_tokenizers

    if split == "gpt2":
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    if split == "digits":
        first: Any = pre_tokenizers.Digits(individual_digits=True)
    else:
        first = pre_tokenizers.Split(Regex(split), behavior="isolated")
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split == "digits")
    return pre_tokenizers.Sequence([first, last])


def _texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)
