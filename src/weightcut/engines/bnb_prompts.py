"""Reading prompts through packed 4-bit weights of bitsandbytes on a CPU, several times faster.

For inference bitsandbytes packs 4-bit weights for a kernel whose time grows with the number of
tokens: right for one token, slow for a prompt (for 200 tokens and a 1536 x 576 matrix 4.8 ms on
one core, where unpacking the weights and multiplying takes 1.1 ms).
"""

from __future__ import annotations

from functools import partial
from typing import Any

MANY = 48  # tokens from which unpacking pays
_ROWS = 32  # rows of weights that bitsandbytes interleaves


def unpack_for_prompts(model: Any) -> None:
    """Let a model's 4-bit layers unpack their weights, one layer at a time, for many tokens."""
    from bitsandbytes.nn import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.forward = partial(_forward, module, module.forward)


def _forward(module: Any, forward: Any, x: Any) -> Any:
    from torch.nn.functional import linear

    if not module.support_avx512bf16_for_cpu or x.numel() // x.shape[-1] < MANY:
        return forward(x)
    state = module.weight.quant_state
    if not getattr(state, "packing_format_for_cpu", False):
        forward(x.reshape(-1, x.shape[-1])[:1])  # packs, so that all prompts are computed alike
        state = module.weight.quant_state
        if not getattr(state, "packing_format_for_cpu", False):
            return forward(x)
    # The packed kernel computes in bfloat16 whatever the type it is given.
    bias = None if module.bias is None else module.bias.to(state.dtype)
    return linear(x.to(state.dtype), unpacked(module.weight.data, state), bias).to(x.dtype)


def unpacked(weight: Any, state: Any) -> Any:
    """Return the weights [rows, columns] that bitsandbytes packed for its CPU kernel.

    The layout is that of `bitsandbytes.functional._convert_weight_packed_for_cpu`: of each 32 rows
    the two columns of a pair lie side by side, row n in the low half of a byte, row n + 16 in the
    high one.
    """
    import torch

    rows, pairs = state.shape[0], state.shape[1] // 2
    words = weight.view(torch.int16).view(rows // _ROWS, pairs, 16).transpose(1, 2).contiguous()
    codes = torch.empty(rows // _ROWS, 2, 16, pairs, dtype=torch.uint8)
    codes[:, 0] = ((words & 0x0F) << 4) | ((words >> 8) & 0x0F)
    codes[:, 1] = (words & 0xF0) | ((words >> 12) & 0x0F)
    scales = state.absmax.T.reshape(-1).float()
    return torch.ops.bitsandbytes.dequantize_4bit(
        codes.view(-1, 1), scales, state.blocksize, state.quant_type, state.shape, state.dtype
    )
