"""Windows of code laid out as chats, so that a chat model is trained in the form it is used in."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from weightcut.models.tokenizer import Tokenizer

REQUEST = (
    "Complete the following Python code. Answer with the whole code in one Python code block."
    "\n\n```python\n{code}\n```"
)
ANSWER = "```python\n"


def as_chats(
    ids: npt.NDArray[np.int64], tokenizer: Tokenizer, share: float
) -> tuple[npt.NDArray[np.int64], int]:
    """Return the windows with `share` of them laid out as chats, and how many were.

    ids: int64 [windows, length]. Such a window asks, through the model's own chat template, to
    complete the first third of a window's code, and answers with that code from its start, cut
    off at `length` tokens. They are spread evenly over the windows. A tokenizer without a chat
    template changes nothing.
    """
    laid, count = ids.copy(), 0
    if not tokenizer.has_chat_template or not share:
        return laid, count
    length = ids.shape[1]
    for index in range(len(ids)):
        if int((index + 1) * share) == int(index * share):
            continue
        window = ids[index].tolist()
        begun = tokenizer.decode(window[: max(1, length // 3)]).strip("\n")
        request = {"role": "user", "content": REQUEST.format(code=begun)}
        answer = ANSWER + tokenizer.decode(window).strip("\n")
        tokens = tokenizer.encode(tokenizer.chat([request], prefill=answer))
        if len(tokens) >= length:
            laid[index] = tokens[:length]
            count += 1
    return laid, count
