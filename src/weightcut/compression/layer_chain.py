"""A decoder cut open, so that any subset of its layers can be run without running the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from weightcut.compression.hf_io import decoder_layers


class LayerChain:
    """The layers of a model as functions of hidden states, for one set of windows.

    One ordinary forward pass records what the model hands to each layer beside the hidden states
    (masks, positions, rotary embeddings), so that a layer keeps its own kind of attention wherever
    it then runs. Works for every family whose decoder is a chain of layers on one hidden state.

    ids: int64 tensor [windows, length]. start: what enters the first layer.
    """

    def __init__(self, model: Any, ids: Any) -> None:
        self.model, self.ids = model, ids
        self._holder, self._name, self.layers = decoder_layers(model)
        self._wrapped = False  # whether a layer gives its hidden state as the first of several
        self._calls = self._record()
        self.start = self._calls[0][0]

    def __len__(self) -> int:
        return len(self.layers)

    def run(self, index: int, hidden: Any) -> Any:
        """Return what layer `index` makes of `hidden` [windows, length, width]."""
        import torch

        _, args, kwargs = self._calls[index]
        with torch.inference_mode():
            out = self.layers[index](hidden, *args, **kwargs)
        return out[0] if isinstance(out, tuple) else out

    def through(self, indices: Iterable[int], hidden: Any) -> Any:
        """Return `hidden` after the layers of these indices, in that order."""
        for index in indices:
            hidden = self.run(index, hidden)
        return hidden

    def logits(self, hidden: Any) -> Iterator[Any]:
        """Yield the float32 logits [length, vocabulary] of each window for the last hidden states.

        The model's own final norm, head and scaling make them; one window at a time, since a large
        vocabulary fills the memory.
        """
        import torch

        for window in range(hidden.shape[0]):
            rows = slice(window, window + 1)
            with torch.inference_mode(), self._only(hidden[rows]):
                out = self.model(input_ids=self.ids[rows], use_cache=False)
            yield out.logits[0].float()

    def loss(self, hidden: Any) -> float:
        """Return the mean next-token loss in nats for these last hidden states."""
        import torch

        total = 0.0
        for logits, ids in zip(self.logits(hidden), self.ids, strict=True):
            loss = torch.nn.functional.cross_entropy(logits[:-1], ids[1:], reduction="sum")
            total += float(loss)
        return total / int(self.ids[:, 1:].numel())

    @contextmanager
    def _only(self, hidden: Any) -> Iterator[None]:
        """Let the model see `hidden` as the output of its last layer, and run no layer."""
        from torch import nn

        given = (hidden,) if self._wrapped else hidden

        class Given(nn.Module):  # type: ignore[misc]
            def forward(self, *_: Any, **__: Any) -> Any:
                return given

        setattr(self._holder, self._name, nn.ModuleList([Given()]))
        try:
            yield
        finally:
            setattr(self._holder, self._name, self.layers)

    def _record(self) -> list[tuple[Any, tuple[Any, ...], dict[str, Any]]]:
        import torch

        calls: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []

        def keep(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            kwargs = dict(kwargs)
            hidden = args[0] if args else kwargs.pop("hidden_states")
            calls.append((hidden if not calls else None, args[1:], kwargs))

        def look(_: Any, __: tuple[Any, ...], out: Any) -> None:
            self._wrapped = isinstance(out, tuple)

        hooks = [layer.register_forward_pre_hook(keep, with_kwargs=True) for layer in self.layers]
        hooks.append(self.layers[0].register_forward_hook(look))
        try:
            with torch.inference_mode():
                self.model(input_ids=self.ids, use_cache=False)
        finally:
            for hook in hooks:
                hook.remove()
        return calls
