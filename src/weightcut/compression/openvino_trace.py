"""From a transformers model to an OpenVINO graph with a key-value cache as inputs and outputs.

The model itself builds its masks from a 2D attention mask and the cache's length, so that sliding
windows, partial rotary embeddings and learned positions come out as the family defines them. Its
weight matrices enter the graph as they are stored, in 16 bit and tied ones once; tracing computes
nothing with them, so that peak memory is about one copy of the weights.
"""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from weightcut.errors import BrokenInput, NotHere, UsageError

ATTENTION = "weightcut"
MARK = ["weightcut", "attention_windows"]
_KINDS = ("full_attention", "sliding_attention", "chunked_attention")
_BATCH, _PAST, _NEW = 2, 3, 4  # of the example inputs; all different, so that none is mixed up
_LARGEST_HALF = 65504.0


def trace(model: Any) -> Any:
    """Return the OpenVINO model of a transformers causal LM; `model` is of no use afterwards.

    Inputs: input_ids [batch, new], attention_mask [batch, past + new], position_ids [batch, new]
    where the family takes them, past_key_values.<i>.key|value [batch, heads, past, head size].
    Outputs: logits [batch, new, vocabulary] in float32, present.<i>.key|value.
    """
    import torch

    model.requires_grad_(False)
    _exact_buffers(model)
    _use_our_attention(model)
    kinds = _layer_kinds(model.config)
    positions = "position_ids" in inspect.signature(model.forward).parameters
    with _stored_weights(model) as stored, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of every shape that becomes a constant
        shapes = _cache_shapes(model, kinds)
        stored.give_back_unused(model)
        return _convert(model, kinds, positions, shapes)


def _convert(model: Any, kinds: Sequence[str], positions: bool, shapes: list[Any]) -> Any:
    import openvino as ov
    import torch
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    class Step(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any, *rest: Any) -> tuple[Any, ...]:
            where = {"position_ids": rest[0]} if positions else {}
            cache = _cache(kinds, rest[len(where) :])
            out = self.model(
                input_ids=input_ids,
                attention_mask=attention_mask,
                past_key_values=cache,
                use_cache=True,
                return_dict=True,
                **where,
            )
            return (out.logits.float(), *(x for layer in cache.layers for x in _pair(layer)))

    ids = torch.ones(_BATCH, _NEW, dtype=torch.int64)
    example = [ids, torch.ones(_BATCH, _PAST + _NEW, dtype=torch.int64)]
    names = ["input_ids", "attention_mask"]
    if positions:
        example.append(torch.arange(_PAST, _PAST + _NEW)[None] + torch.zeros_like(ids))
        names.append("position_ids")
    scalars = len(names)
    cache_names = [f"{i}.{kind}" for i in range(len(shapes) // 2) for kind in ("key", "value")]
    example += [torch.randn(_BATCH, heads, _PAST, size) for heads, size in shapes]
    names += [f"past_key_values.{name}" for name in cache_names]
    try:
        # The proof compares the whole artifact; to compare two traces takes as long again.
        graph = ov.convert_model(
            TorchScriptPythonDecoder(
                Step(), example_input=tuple(example), trace_kwargs={"check_trace": False}
            )
        )
    except Exception as error:
        raise NotHere(
            f"OpenVINO cannot convert a {model.config.model_type} model: {_first_line(error)}",
            cure="use the transformers engine",
        ) from error
    if len(graph.inputs) != len(names):
        raise NotHere(
            f"the converted {model.config.model_type} model has {len(graph.inputs)} inputs where "
            f"{len(names)} were expected",
            cure="use the transformers engine",
        )
    for index, (name, port) in enumerate(zip(names, graph.inputs, strict=True)):
        node = port.get_node()
        port.get_tensor().set_names({name})
        node.set_friendly_name(name)
        shape = [-1, -1] if index < scalars else [-1, *_spread(shapes[index - scalars])]
        node.set_partial_shape(ov.PartialShape(shape))
        node.set_element_type(ov.Type.i64 if index < scalars else ov.Type.f32)
    outputs = ["logits", *(f"present.{name}" for name in cache_names)]
    for name, port in zip(outputs, graph.outputs, strict=True):
        port.get_tensor().set_names({name})
    window = getattr(model.config.get_text_config(decoder=True), "sliding_window", None) or 0
    # What paged attention must come out with; the engine checks it. -1: it has no form for that.
    windows = {"full_attention": 0, "sliding_attention": window, "chunked_attention": -1}
    graph.set_rt_info(",".join(str(windows[kind]) for kind in kinds), MARK)
    graph.validate_nodes_and_infer_types()
    return graph


def _spread(shape: tuple[int, int]) -> tuple[int, int, int]:
    heads, size = shape
    return heads, -1, size


def _pair(layer: Any) -> tuple[Any, Any]:
    return layer.keys, layer.values


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if not line.endswith(":")), type(error).__name__)[:300]


# --- the cache ------------------------------------------------------------------------------------


def _layer_kinds(config: Any) -> list[str]:
    """Return the kind of attention of each cached layer; NotHere where it has another state."""
    from transformers.cache_utils import get_layer_types_and_kwargs

    kinds: list[str] = list(get_layer_types_and_kwargs(config.get_text_config(decoder=True))[0])
    if strange := sorted(set(kinds) - set(_KINDS)):
        raise NotHere(
            f"a {config.model_type} model has layers of kind {', '.join(strange)}, whose state "
            "the export to OpenVINO does not carry",
            cure="use the transformers engine",
        )
    return kinds


def _cache(kinds: Sequence[str], flat: Sequence[Any] = ()) -> Any:
    """Return a cache that keeps every token in every layer, filled with `flat` (key, value, ...).

    A sliding layer keeps all tokens too, and the mask alone hides the old ones: the length of its
    state then grows like the others', which the graph and paged attention need.
    """
    from transformers.cache_utils import Cache, DynamicLayer

    layers = []
    for index, kind in enumerate(kinds):
        layer = DynamicLayer()
        layer.is_sliding = kind != "full_attention"
        if flat:
            layer.keys, layer.values = flat[2 * index], flat[2 * index + 1]
            layer.dtype, layer.device = layer.keys.dtype, layer.keys.device
            layer.is_initialized = True
        layers.append(layer)
    return Cache(layers=layers)


def _cache_shapes(model: Any, kinds: Sequence[str]) -> list[tuple[int, int]]:
    """Return (heads, head size) of each layer's keys and values, as a run of the model has them."""
    import torch

    cache = _cache(kinds)
    ids = torch.zeros(1, 1, dtype=torch.int64)
    model(input_ids=ids, attention_mask=torch.ones_like(ids), past_key_values=cache, use_cache=True)
    states = [state for layer in cache.layers for state in _pair(layer)]
    if any(state is None or state.ndim != 4 for state in states):
        raise NotHere(
            f"a {model.config.model_type} model does not keep its state in the standard cache",
            cure="use the transformers engine",
        )
    return [(state.shape[1], state.shape[3]) for state in states]


# --- attention ------------------------------------------------------------------------------------


def _use_our_attention(model: Any) -> None:
    """Make the model's attention one fused operation wherever that can express it.

    The masks are additive (a row that is all padding stays finite) and cut to the keys' length:
    this is the form in which OpenVINO's paged attention recognizes a sliding window.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    AttentionInterface.register(ATTENTION, _attention)
    AttentionMaskInterface.register(ATTENTION, eager_mask)
    try:
        model.set_attn_implementation(ATTENTION)
    except ValueError:
        model.set_attn_implementation("eager")


def _attention(module: Any, query: Any, key: Any, value: Any, mask: Any, **kwargs: Any) -> Any:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if mask is not None:
        mask = mask[:, :, :, : key.shape[-2]]
    # Soft-capped scores and attention sinks are beyond the fused operation; transformers' own
    # SDPA silently drops them, so the family's plain implementation is taken.
    if kwargs.get("softcap") is not None or kwargs.get("s_aux") is not None:
        eager = sys.modules[type(module).__module__].eager_attention_forward
        return eager(module, query, key, value, mask, **kwargs)
    return sdpa_attention_forward(module, query, key, value, mask, **kwargs)


# --- weights --------------------------------------------------------------------------------------


def _exact_buffers(model: Any) -> None:
    """Compute again in float32 the constants that a 16-bit load has rounded (Gemma's scale)."""
    import torch

    for module in model.modules():
        rounded = {
            name: buffer
            for name, buffer in module.named_buffers(recurse=False)
            if name in module._non_persistent_buffers_set
            and buffer.dtype in (torch.float16, torch.bfloat16)
        }
        for name, buffer in rounded.items():
            module._buffers[name] = torch.full(buffer.shape, torch.nan, dtype=torch.float32)
        if rounded:
            for parameter in module.parameters(recurse=False):
                parameter._is_hf_initialized = True  # the initializer must leave the weights alone
            model._init_weights(module)
        for name, buffer in rounded.items():
            if module._buffers[name].isnan().any():
                module._buffers[name] = buffer.float()


class _Stored:
    """The 16-bit weights by the id of the placeholder that stands for each."""

    def __init__(self) -> None:
        self.weights: dict[int, Any] = {}
        self.used: set[int] = set()

    def take(self, placeholder: Any) -> Any:
        """Return the weight that a placeholder stands for; None where it is none."""
        self.used.add(id(placeholder))
        return self.weights.get(id(placeholder))

    def give_back_unused(self, model: Any) -> None:
        """Make float32 weights of those that the model multiplies by in a way of its own."""
        import torch

        for module in model.modules():
            weight = getattr(module, "weight", None)
            if id(weight) in self.weights and id(weight) not in self.used:
                real = self.weights[id(weight)]
                module.weight = torch.nn.Parameter(real.float(), requires_grad=False)
                del module.stored_weight


@contextmanager
def _stored_weights(model: Any) -> Iterator[_Stored]:
    """Put 16-bit weight matrices into the traced graph as they are; all else becomes float32.

    A module shows a float32 placeholder without memory as its weight, so that no code of the model
    that asks for the weight's type rounds activations to 16 bit; the functions that multiply by it
    or look it up are replaced by single graph operations on the stored weight.
    """
    import torch
    from torch.nn import functional
    from transformers.pytorch_utils import Conv1D

    stored = _Stored()
    shown: dict[int, Any] = {}
    for module in model.modules():
        matrix = isinstance(module, torch.nn.Linear | torch.nn.Embedding | Conv1D)
        for name, parameter in list(module.named_parameters(recurse=False)):
            if not parameter.is_floating_point():
                raise UsageError(
                    "the weights are quantized already",
                    cure="export the model as it was before quantization",
                )
            if not (matrix and name == "weight" and parameter.ndim == 2):
                parameter.data = parameter.data.float()
                continue
            if id(parameter) not in shown:
                empty = torch.zeros(()).expand(parameter.shape)
                placeholder = torch.nn.Parameter(empty, requires_grad=False)
                narrow = torch.nn.Parameter(_sixteen_bit(parameter.data), requires_grad=False)
                # The old parameter is kept, emptied, so that its id stays its own.
                shown[id(parameter)] = (placeholder, narrow, parameter)
                parameter.data = empty
                stored.weights[id(placeholder)] = narrow
            module.weight, module.stored_weight = shown[id(parameter)][:2]
    before = functional.linear, functional.embedding, torch.addmm
    functional.linear = _linear(before[0], stored)
    functional.embedding = _embedding(before[1], stored)
    torch.addmm = _addmm(before[2], stored)
    try:
        yield stored
    finally:
        functional.linear, functional.embedding, torch.addmm = before


def _sixteen_bit(weight: Any) -> Any:
    """Return a weight in 16 bit: as it is if it is so already, else float16 where that has room."""
    import torch

    if weight.dtype in (torch.float16, torch.bfloat16):
        return weight
    if not torch.isfinite(weight).all():
        raise BrokenInput("the weights contain NaN or infinity")
    fits = weight.numel() == 0 or float(weight.abs().max()) <= _LARGEST_HALF
    return weight.to(torch.float16 if fits else torch.bfloat16)


def _operation(name: str, shape: Callable[..., tuple[int, ...]], *args: Any) -> Any:
    """Put one OpenVINO operation into the traced graph; only the shape of its result is real."""
    import torch
    from openvino.frontend.pytorch import ModuleExtension

    class Operation(torch.autograd.Function):  # type: ignore[misc]
        target_extension = ModuleExtension(None, name)

        @staticmethod
        @torch.jit.ignore  # type: ignore[untyped-decorator]
        def forward(_context: Any, *args: Any) -> Any:
            return torch.full(shape(*args), 0.5)

    return Operation.apply(*args)


def _linear(original: Any, stored: _Stored) -> Callable[..., Any]:
    def linear(x: Any, weight: Any, bias: Any = None) -> Any:
        if (real := stored.take(weight)) is None:
            return original(x, weight, bias)
        return _operation(
            "ov_ext::linear", lambda x, w, _: (*x.shape[:-1], w.shape[0]), x, real, bias
        )

    return linear


def _embedding(original: Any, stored: _Stored) -> Callable[..., Any]:
    def embedding(ids: Any, weight: Any, padding_idx: Any = None, *rest: Any, **more: Any) -> Any:
        if (real := stored.take(weight)) is None:
            return original(ids, weight, padding_idx, *rest, **more)
        return _operation(
            "ov_ext::embedding",
            lambda w, ids, *_: (*ids.shape, w.shape[1]),
            *(real, ids, padding_idx, False, False),
        )

    return embedding


def _addmm(original: Any, stored: _Stored) -> Callable[..., Any]:
    def addmm(bias: Any, x: Any, weight: Any, **more: Any) -> Any:
        if (real := stored.take(weight)) is None:
            return original(bias, x, weight, **more)
        return _operation("ov_ext::conv1d", lambda x, w, _: (x.shape[0], w.shape[1]), x, real, bias)

    return addmm
