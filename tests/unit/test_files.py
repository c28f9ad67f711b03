"""Locks between processes: whoever has to wait is told for whom."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from weightcut.files import locked


def test_it_is_said_once_who_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "k.lock"
    said: list[str] = []
    heard = threading.Event()

    def say(phrase: str) -> None:
        said.append(phrase)
        heard.set()

    def want() -> None:
        with locked(path, say):
            pass

    with locked(path, say):
        assert not said, "nobody held it"
        waiting = threading.Thread(target=want)
        waiting.start()
        assert heard.wait(60)
    waiting.join()
    assert said == [f"waiting for process {os.getpid()}, which is at work on it"]
