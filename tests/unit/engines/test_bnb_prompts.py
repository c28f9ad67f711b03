from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
@pytest.mark.parametrize("double", [True, False])
def test_unpacking_gives_the_weights_back(kind: str, double: bool) -> None:
    from bitsandbytes import functional

    from weightcut.engines.bnb_prompts import unpacked

    torch.manual_seed(0)
    weight = torch.randn(96, 128, dtype=torch.bfloat16)
    codes, state = functional.quantize_4bit(weight, quant_type=kind, compress_statistics=double)
    expected = functional.dequantize_4bit(codes, state).float()
    packed, packed_state = functional._convert_weight_packed_for_cpu(
        codes.clone(), copy.deepcopy(state)
    )
    # The packed form keeps its scales in bfloat16.
    assert torch.allclose(unpacked(packed, packed_state).float(), expected, rtol=2**-7)


def test_long_and_short_inputs_agree() -> None:
    from bitsandbytes.nn import Linear4bit

    from weightcut.engines.bnb_prompts import MANY, unpack_for_prompts

    torch.manual_seed(0)
    layer = Linear4bit(128, 64, bias=True, compute_dtype=torch.bfloat16, quant_type="nf4")
    model = torch.nn.Sequential(layer).to("cpu", torch.bfloat16)
    if not layer.support_avx512bf16_for_cpu:
        pytest.skip("bitsandbytes packs weights only where the CPU has AVX512 BF16")
    model.eval()
    x = torch.randn(1, MANY, 128, dtype=torch.bfloat16)
    with torch.inference_mode():
        model(x[:, :1])  # quantizes and packs
        plain = model(x)
        unpack_for_prompts(model)
        fast, short = model(x), model(x[:, :1])
    assert layer.weight.quant_state.packing_format_for_cpu
    assert torch.allclose(fast.float(), plain.float(), atol=0.05)
    assert torch.allclose(short.float(), plain[:, :1].float(), atol=0.05)
