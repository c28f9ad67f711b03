"""Width pruning: fewer channels in the MLPs and fewer groups of attention heads, in every layer."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from weightcut.compression import width_parts as parts
from weightcut.compression.files import bytes_by_part
from weightcut.compression.hf_io import save_causal_lm, text_config
from weightcut.compression.hf_source import calibration_length, load_checked, told
from weightcut.compression.layer_chain import LayerChain
from weightcut.compression.method import CALIBRATION, CalibrationText, Context, Requirements
from weightcut.compression.read_back import predictions, refuse_if_changed
from weightcut.errors import BrokenInput, NotHere, UsageError
from weightcut.records import Format, Record

_RIDGE = 0.01  # of the mean square of an activation: how far refitted weights trust the text
_WIDEST_STEP = 64


class PruneWidth(Record):
    """Remove MLP channels and groups of attention heads by what they add to a layer's output.

    The importance of a channel is the mean square of what it adds: its activation on calibration
    text times its column of the output matrix (Wanda's criterion, arXiv:2306.11695, for whole
    channels, as in FLAP, arXiv:2312.11983). A group of heads, one key-value head with the query
    heads that share it, is judged alike. The least important ones of each layer go, the same
    number in every layer; then the output matrix is fitted by least squares to give what the whole
    one gave (as in OSSCAR, arXiv:2403.12983), layer after layer, each on what the narrower layers
    before it give. The result is a dense, smaller model of the same family with a config that says
    so, which is checked by reading it back.
    """

    kind: Literal["prune-width"] = "prune-width"
    ratio: float = Field(0.2, ge=0, lt=1, description="share of the MLPs' channels to remove")
    groups: int | None = Field(
        None,
        ge=0,
        description="attention groups to remove from each layer, each a key-value head with its "
        "query heads; null: the same share of them, rounded down",
    )
    refit: bool = Field(True, description="fit the output matrices anew, by least squares")
    windows: int = Field(32, ge=1, description="windows of calibration text")
    length: int = Field(256, ge=2, description="tokens of each window")
    text: CalibrationText = "code"

    accepts: ClassVar[frozenset[Format]] = frozenset({"hf"})
    produces: ClassVar[Format] = "hf"
    needs_calibration: ClassVar[bool] = True
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    bits: ClassVar[float | None] = None
    paper: ClassVar[str] = "arXiv:2312.11983"

    def requirements(self) -> Requirements:
        """Return what it needs: the 16-bit model and one layer's statistics."""
        return Requirements(
            packages=("torch", "transformers"),
            memory_per_weight=3.0,
            base_memory=1_400_000_000,
            seconds_per_weight=3e-11 * self.windows * self.length,
            base_seconds=10.0,
            tokens=self.windows * self.length,
            window=self.length,
            weights_left=1 - self.ratio,
        )

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Measure and narrow layer after layer, write to `out`, and read back what was written."""
        import torch

        model = load_checked(source)
        length = calibration_length(model, self.length)
        blocks = context.texts(CALIBRATION[self.text], self.windows, length)
        ids = torch.from_numpy(blocks.ids)
        try:
            record = self._narrow(model, ids, context)
        except RuntimeError as error:  # shapes that a family takes from its config, mid-way
            raise NotHere(
                f"a {model.config.model_type} model does not run with narrower layers: "
                f"{str(error).splitlines()[0][:200]}",
                cure=parts.STILL,
            ) from error
        save_causal_lm(model, source, out)
        expected = predictions(model, ids[:1])
        kind = model.config.model_type
        del model
        cure = f"prune-width with groups=0 prunes the MLPs alone; {parts.STILL}"
        refuse_if_changed(out, ids[:1], expected, kind, cure)
        context.record.update(record, bytes_by_part=bytes_by_part(out), text=told(blocks))

    def _narrow(self, model: Any, ids: Any, context: Context) -> dict[str, Any]:
        """Narrow every layer of `model` in place, its config too; return what came of it."""
        config, kind = text_config(model), model.config.model_type
        chain = LayerChain(model, ids)
        mlps = [parts.mlp_of(layer, kind) for layer in chain.layers]
        width = parts.one_width(mlps, kind)
        keys = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        gone = self._groups(keys)
        heads = [parts.attention_of(layer, kind) for layer in chain.layers] if gone else []
        size = parts.matrix(heads[0].makers[1]).shape[0] // keys if gone else 0
        before = chain.loss(chain.through(range(len(chain)), chain.start))
        if not math.isfinite(before):
            raise BrokenInput("the model's loss on the calibration text is not a finite number")
        kept = kept_channels(width, self.ratio)
        hidden, lost = chain.start, []
        for index in range(len(chain)):
            row = {}
            if gone:
                row["attention"] = self._cut(chain, index, hidden, heads[index], keys, keys - gone)
            row["mlp"] = self._cut(chain, index, hidden, mlps[index], width, kept)
            lost.append(row)
            hidden = chain.run(index, hidden)
            context.progress("narrowing layer after layer", (index + 1) / len(chain))
        parts.set_channels(model, width, kept)
        queries = config.num_attention_heads
        if gone:
            parts.set_heads(model, queries // keys * (keys - gone), keys - gone, size)
        return {
            "channels": {"before": width, "after": kept},
            "key_value_heads": {"before": keys, "after": keys - gone},
            "query_heads": {"before": queries, "after": queries // keys * (keys - gone)},
            "loss_before": before,
            "loss_after": chain.loss(hidden),
            "output_lost_by_layer": lost,
        }

    def _cut(
        self, chain: LayerChain, index: int, hidden: Any, inner: parts.Inner, count: int, kept: int
    ) -> float:
        """Cut a layer's `count` units down to `kept`; return the share of the output lost.

        A unit is a channel, or a group of heads. The share is of the mean square of the output.
        """
        if kept == count:
            return 0.0
        gram = _gram(chain, index, hidden, inner.reader)
        weight = parts.matrix(inner.reader).detach().to(gram.dtype)
        units = _units(gram.shape[0], count)
        if units.shape[1] > 1:
            added = _of_groups(weight, gram, units)
        else:
            added = gram.diagonal() * weight.square().sum(0)
        chosen = added.topk(kept).indices.sort().values
        inputs = units[chosen].flatten()
        narrow, lost = fitted(weight, gram, inputs, self.refit)
        for maker in inner.makers:
            outputs = _units(parts.matrix(maker).shape[0], count)[chosen].flatten()
            parts.keep_outputs(maker, outputs)
        parts.keep_inputs(inner.reader, narrow)
        return lost

    def _groups(self, keys: int) -> int:
        """Return how many of a layer's attention groups go."""
        count = math.floor(self.ratio * keys) if self.groups is None else self.groups
        if count >= keys:
            raise UsageError(
                f"cannot remove {count} of {keys} attention groups",
                cure=f"remove at most {keys - 1} with groups={keys - 1}",
            )
        return count


def kept_channels(width: int, ratio: float) -> int:
    """Return how many channels stay: a multiple of up to 64, so that later group sizes divide."""
    step = _WIDEST_STEP
    while step > 1 and (step * 16 > width or width % step):
        step //= 2
    return max(step, round(width * (1 - ratio) / step) * step)


def fitted(weight: Any, gram: Any, kept: Any, refit: bool) -> tuple[Any, float]:
    """Return the columns of `weight` that stay, fitted to what all gave, and the share lost.

    weight: [outputs, inputs]. gram: [inputs, inputs], the inputs' second moments. kept: indices.
    Minimizes |X W' - X_kept W|^2 + ridge |W - W_kept|^2. The share is of the output's mean square.
    """
    import torch

    gone = torch.ones(gram.shape[0], dtype=torch.bool)
    gone[kept] = False
    narrow, removed = weight[:, kept], weight[:, gone]
    inside, across = gram[kept][:, kept], gram[kept][:, gone]
    change = torch.zeros_like(narrow)
    if refit:
        ridge = _RIDGE * float(gram.diagonal().mean()) + torch.finfo(gram.dtype).tiny
        factor = torch.linalg.cholesky(inside + ridge * torch.eye(len(kept), dtype=gram.dtype))
        change = torch.cholesky_solve(across @ removed.T, factor).T
    left = (removed @ gram[gone][:, gone] * removed).sum()
    left += (change @ inside * change).sum() - 2 * (change @ across * removed).sum()
    whole = (weight @ gram * weight).sum()
    return narrow + change, float(left / whole) if whole > 0 else 0.0


def _units(width: int, count: int) -> Any:
    """Return the indices that belong to each unit, [count, width / count]."""
    import torch

    return torch.arange(width).reshape(count, -1)


def _of_groups(weight: Any, gram: Any, units: Any) -> Any:
    """Return the mean square of what each group of inputs adds to the output."""
    import torch

    return torch.stack([(weight[:, u] @ gram[u][:, u] * weight[:, u]).sum() for u in units])


def _gram(chain: LayerChain, index: int, hidden: Any, reader: Any) -> Any:
    """Return the second moments [inputs, inputs] of what `reader` sees, mean over tokens."""
    import torch

    found: list[Any] = []

    def look(_: Any, args: tuple[Any, ...]) -> None:
        seen = args[0].reshape(-1, args[0].shape[-1]).float()
        found.append((seen.T @ seen).double() / len(seen))

    hook = reader.register_forward_pre_hook(look)
    try:
        chain.run(index, hidden)
    finally:
        hook.remove()
    with torch.inference_mode(False):
        return found[0].clone()
