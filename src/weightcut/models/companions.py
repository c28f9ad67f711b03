"""What belongs to a model beside its weights and its config."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

_PATTERNS = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "*.tiktoken",
    "*.model",
    "chat_template*",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "LICENSE*",
    "NOTICE*",
)


def companions(folder: Path) -> list[Path]:
    """Return the tokenizer's files, the chat template, generation_config.json and the licence."""
    return [
        path
        for path in sorted(folder.iterdir())
        if path.is_file() and any(fnmatch(path.name, pattern) for pattern in _PATTERNS)
    ]
