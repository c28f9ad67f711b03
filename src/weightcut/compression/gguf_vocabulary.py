"""The tokenizer of a Hugging Face folder as the metadata of a GGUF file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from weightcut.errors import BrokenInput, UsageError
from weightcut.models.gguf_tokenizer import SPLITS, byte_pair
from weightcut.models.tokenizer import FolderTokenizer

_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5
_ROLES = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
# What tells the ways apart in which text is split before the byte-pair merges.
_PROBE = (
    "def main(argv):\n    return [int(x) for x in argv[1:]]  # 1234567 3.14159 0xFF\r\n\n\n"
    "\tDon't, I'LL, we've, they're; it's  two   spaces \n \n  snake_case __init__ CamelCase\n"
    "naïve café cafe\u0301 Straße 北京 日本語 Привет мир ١٢٣ ½ 🙂👍🏽 $%&!?...(){}<>=>\n"
)
_CURE = "use another engine: transformers and openvino keep the folder's own tokenizer"


def vocabulary(folder: Path, rows: int) -> dict[str, Any]:
    """Return the `tokenizer.*` metadata for a model with an embedding of so many rows.

    GGUF names only the way in which text is split, so the named way is tried: the tokenizer that
    weightcut would read back must give the same ids. UsageError for tokenizers of other kinds.
    """
    tokenizer = FolderTokenizer(folder)
    data = _read(folder / "tokenizer.json")
    model = data.get("model")
    if not isinstance(model, dict) or model.get("type") != "BPE" or model.get("byte_fallback"):
        raise UsageError(
            "its tokenizer is no byte-level BPE, the one kind that is written to GGUF here",
            place=str(folder),
            cure=_CURE,
        )
    tokens, kinds = _tokens(folder, data, rows)
    found: dict[str, Any] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": [
            m if isinstance(m, str) else " ".join(m) for m in model["merges"]
        ],
        "tokenizer.ggml.add_bos_token": tokenizer.adds_bos,
    }
    index = {token: at for at, token in enumerate(tokens)}
    for role, name in _ROLES.items():
        token = tokenizer.special.get(f"{role}_token")
        if token is not None and token in index:
            found[f"tokenizer.ggml.{name}_token_id"] = index[token]
    if tokenizer.bos_id is not None and tokenizer.bos_id < rows:
        found.setdefault("tokenizer.ggml.bos_token_id", tokenizer.bos_id)
    if tokenizer.template is not None:
        found["tokenizer.chat_template"] = tokenizer.template
    found["tokenizer.ggml.pre"] = _split(folder, tokenizer, found)
    return found


def _tokens(folder: Path, data: dict[str, Any], rows: int) -> tuple[list[str], list[int]]:
    """Return the text and kind of every row of the embedding; rows without a token are unused."""
    tokens = [f"[PAD{at}]" for at in range(rows)]
    kinds = [_UNUSED] * rows
    entries = [(text, at, _NORMAL) for text, at in data["model"]["vocab"].items()]
    entries += [
        (entry["content"], entry["id"], _CONTROL if entry.get("special") else _USER_DEFINED)
        for entry in data.get("added_tokens", ())
    ]
    for text, at, kind in entries:
        if not 0 <= at < rows:
            raise BrokenInput(
                f"its tokenizer has the id {at}, its embedding {rows} rows", place=str(folder)
            )
        tokens[at], kinds[at] = text, kind
    return tokens, kinds


def _split(folder: Path, tokenizer: FolderTokenizer, metadata: dict[str, Any]) -> str:
    """Return the name of the split with which the same ids come out."""
    wanted = tokenizer.encode(_PROBE)
    tokens, merges = metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.merges"]
    for name in SPLITS:
        made = byte_pair(metadata | {"tokenizer.ggml.pre": name}, tokens, merges, folder)
        if made.encode(_PROBE, add_special_tokens=False).ids == wanted:
            return name
    raise UsageError(
        "its tokenizer splits text in a way that has no name here; known: " + ", ".join(SPLITS),
        place=str(folder),
        cure=_CURE,
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BrokenInput(f"cannot be read: {error}", place=str(path)) from error
    if not isinstance(found, dict):
        raise BrokenInput("holds no JSON object", place=str(path))
    return found
