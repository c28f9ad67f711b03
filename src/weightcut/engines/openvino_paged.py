"""Whether OpenVINO's paged form of a model's attention is the attention that the model has.

The conversion to paged attention drops the model's own mask and keeps of it only what it
recognizes; what it does not recognize is lost without a word. So the converted graph is compared
with what the model must have, before it is trusted.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

_WINDOW = 10  # the input of PagedAttentionExtension that holds the sliding window, 0 for none
MARK = ["weightcut", "attention_windows"]


def paged_obstacle(graph: Any, folder: Path) -> str:
    """Return why paged attention would not be this model's attention, or "" where it is.

    graph: the stateful model; it is left as it is. folder: where its config.json lies.
    """
    from openvino._offline_transformations import paged_attention_transformation

    wanted = _wanted_windows(graph, folder)
    layers = sum(node.get_type_name() == "ReadValue" for node in graph.get_ops()) // 2
    paged = graph.clone()
    try:
        paged_attention_transformation(paged)
    except RuntimeError as error:
        line = str(error).strip().splitlines()[-1][:200]
        return f"the attention has no paged form ({line})"
    found = [n for n in paged.get_ordered_ops() if n.get_type_name() == "PagedAttentionExtension"]
    if len(found) != layers:
        return f"{len(found)} of {layers} attention layers have a paged form"
    windows = _windows(found)
    if sorted(windows) != sorted(wanted if len(wanted) > 1 else wanted * layers):
        return f"sliding windows would be lost (paged attention has {_brief(windows)})"
    return ""


def _wanted_windows(graph: Any, folder: Path) -> list[int]:
    """Return the sliding window of each attention layer (0 for none), or one for all of them."""
    if graph.has_rt_info(MARK):
        return [int(window) for window in graph.get_rt_info(MARK).astype(str).split(",")]
    # An export that is not ours: read what config.json says of windows.
    path = folder / "config.json"
    config = json.loads(path.read_text()) if path.is_file() else {}
    config = config.get("text_config", config)
    window = config.get("sliding_window") if config.get("use_sliding_window", True) else None
    kinds = config.get("layer_types")
    if not kinds or not window:
        return [window or 0]
    return [window if kind != "full_attention" else 0 for kind in kinds]


def _windows(paged: list[Any]) -> list[int]:
    """Return the constants at the window inputs of paged attention nodes."""
    import openvino as ov

    values = [node.input_value(_WINDOW) for node in paged]
    folded = ov.Core().compile_model(ov.Model(values, []), "CPU")([])
    return [int(np.asarray(folded[port]).item()) for port in folded]


def _brief(windows: list[int]) -> str:
    return ", ".join(str(window) for window in sorted(set(windows))) or "none"
