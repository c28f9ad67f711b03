from __future__ import annotations

import numpy as np
import pytest

from weightcut.compression.chat_windows import as_chats
from weightcut.models.tokenizer import ByteTokenizer

CODE = "def add(a, b):\n    return a + b\n\n\n"


class Plain(ByteTokenizer):
    def __init__(self) -> None:
        super().__init__()
        self.has_chat_template = False


def windows(count: int, length: int = 200) -> np.ndarray:
    stream = list((CODE * 400).encode())
    return np.array([stream[7 * i : 7 * i + length] for i in range(count)], dtype=np.int64)


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.25, 2), (0.5, 4), (1.0, 8)])
def test_the_share_is_laid_out_and_the_rest_untouched(share: float, count: int) -> None:
    plain = windows(8)
    laid, chats = as_chats(plain, ByteTokenizer(), share)
    changed = (laid != plain).any(axis=1)
    assert chats == count == changed.sum()
    assert laid.shape == plain.shape


def test_a_chat_asks_for_the_start_and_answers_with_the_whole() -> None:
    laid, _ = as_chats(windows(1, 600), ByteTokenizer(), 1.0)
    text = bytes(laid[0].tolist()).decode()
    request, _, answer = text.partition("assistant: ```python\n")
    assert request.startswith("user: Complete the following Python code.")
    asked = request.partition("```python\n")[2].removesuffix("\n```\n")
    assert 0 < len(asked) <= 200
    assert answer.startswith(asked[: len(answer)])
    assert (CODE * 400).startswith(answer)


def test_a_model_without_a_template_sees_plain_text() -> None:
    plain = windows(4)
    laid, chats = as_chats(plain, Plain(), 1.0)
    assert chats == 0
    assert (laid == plain).all()
