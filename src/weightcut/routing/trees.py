"""Boosted trees and a random forest on structure and topics, walked as flat arrays.

scikit-learn grows them; its own predict costs milliseconds a call, so all trees are walked at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from weightcut.routing.encoder import Encoded, Encoder, One, Singles
from weightcut.routing.policy import Arrays, Floats

_ROWS = 1_024
_DEEPEST = 64
_BOOSTED_DEPTH, _FOREST_DEPTH = 6, 12
"""Each level costs every decision a few microseconds."""


class _Tree(NamedTuple):
    """One tree: per node whether it is a leaf, its test, its children, its values [nodes, V]."""

    leaf: Any
    feature: Any
    threshold: Any
    left: Any
    right: Any
    value: Floats
    depth: int


@dataclass(frozen=True)
class Grove:
    """Trees as flat arrays; prediction: `base` plus the sum of the values of the leaves reached.

    roots: [trees] where each begins. feature, threshold, left: [nodes]; a row goes left where its
    feature is at most the threshold, else to the node behind that; a leaf leads to itself. value:
    [nodes, V].
    """

    roots: npt.NDArray[np.int32]
    feature: npt.NDArray[np.int32]
    threshold: Singles
    left: npt.NDArray[np.int32]
    value: Singles
    base: Singles
    depth: int

    @classmethod
    def of(cls, trees: Sequence[_Tree], base: Floats) -> Self:
        """Put trees behind one another."""
        roots = np.cumsum([0, *(len(tree.leaf) for tree in trees)])[:-1]
        placed = [_siblings_together(tree) for tree in trees]
        leaf = np.concatenate([tree.leaf for tree in placed])
        left = np.concatenate([n + tree.left for n, tree in zip(roots, placed, strict=True)])
        feature = np.concatenate([tree.feature for tree in placed])
        threshold = np.concatenate([tree.threshold for tree in placed])
        return cls(
            roots.astype(np.int32),
            np.where(leaf, 0, feature).astype(np.int32),
            _rounded_down(np.where(leaf, np.inf, threshold)),
            left.astype(np.int32),
            np.concatenate([tree.value for tree in placed]).astype(np.float32),
            base.astype(np.float32),
            max(tree.depth for tree in trees),
        )

    def predict(self, one: One) -> Floats:
        """Return every variant's expected quality."""
        row, node = one.dense, self.roots
        for _ in range(self.depth):
            reached = self._packed.take(node, axis=0)
            node = reached[:, 2] + (row.take(reached[:, 0]) > reached[:, 1].view(np.float32))
        return np.asarray(self.base + self.value.take(node, axis=0).sum(0), np.float64)

    @cached_property
    def _packed(self) -> npt.NDArray[np.int32]:
        """Each node's feature, threshold (its bits) and left: in one line of the cache."""
        columns = (self.feature, self.threshold.view(np.int32), self.left)
        return np.ascontiguousarray(np.column_stack(columns))

    def predict_many(self, encoded: Encoded) -> Floats:
        """Return the same for many prompts."""
        rows = encoded.dense
        found = [self._walk(rows[start : start + _ROWS]) for start in range(0, len(rows), _ROWS)]
        return np.concatenate(found)

    def _walk(self, rows: Singles) -> Floats:
        node = np.broadcast_to(self.roots, (len(rows), len(self.roots)))
        at = np.arange(len(rows))[:, None]
        for _ in range(self.depth):
            node = self.left[node] + (rows[at, self.feature[node]] > self.threshold[node])
        return np.asarray(self.base + self.value[node].sum(1), np.float64)

    def arrays(self) -> Arrays:
        """Return everything learnt."""
        names = ("roots", "feature", "threshold", "left", "value", "base")
        return {name: getattr(self, name) for name in names} | {"depth": np.array(self.depth)}

    @classmethod
    def restore(cls, arrays: Arrays, encoder: Encoder) -> Self:
        """Return the trees of these arrays; ValueError where they do not fit."""
        whole = {n: arrays[n].astype(np.int32) for n in ("roots", "feature", "left")}
        real = {n: arrays[n].astype(np.float32) for n in ("threshold", "value", "base")}
        found = cls(
            roots=whole["roots"],
            feature=whole["feature"],
            threshold=real["threshold"],
            left=whole["left"],
            value=real["value"],
            base=real["base"],
            depth=int(arrays["depth"]),
        )
        nodes = len(found.feature)
        width = encoder.topics + len(encoder.mean)
        fits = (
            0 <= found.depth <= _DEEPEST
            and found.base.ndim == 1
            and found.value.shape == (nodes, len(found.base))
            and all(len(a) == nodes and a.ndim == 1 for a in (found.threshold, found.left))
            and _within(found.feature, width)
            and _within(found.roots, nodes)
            # Nothing exceeds a leaf's threshold, so that nothing behind it is ever reached.
            and _within(found.left + (found.threshold < np.inf), nodes)
        )
        if not fits:
            raise ValueError("the trees do not fit together")
        return found


class Boosted(Grove):
    """Gradient boosting of small trees, one series a variant (Friedman 2001), on histograms."""

    @classmethod
    def fit(cls, encoded: Encoded, quality: Floats, seed: int) -> Self:
        """Grow trees on the squared error: qualities need not be yes or no."""
        from sklearn.ensemble import HistGradientBoostingRegressor
        from threadpoolctl import threadpool_limits

        rows, variants = quality.shape
        trees, base = [], quality.mean(0)
        for variant in range(variants):
            model = HistGradientBoostingRegressor(
                max_iter=200,
                learning_rate=0.04,
                max_leaf_nodes=4 if rows < _FEW else 12,
                max_depth=_BOOSTED_DEPTH,
                min_samples_leaf=max(1, min(25, rows // 20)),
                l2_regularization=10.0,
                max_features=0.2,
                early_stopping=False,
                random_state=seed,
            )
            # Threads spin for each other's tiny pieces of work, for minutes where cores are busy.
            with threadpool_limits(1 if rows < _MANY else None, user_api="openmp"):
                model.fit(encoded.dense, quality[:, variant] - base[variant])
            base[variant] += float(np.ravel(model._baseline_prediction)[0])
            # There is no public way to a fitted tree; a test compares with the model's own predict.
            for (grown,) in model._predictors:
                nodes = grown.nodes
                value = np.zeros((len(nodes), variants))
                value[:, variant] = np.where(nodes["is_leaf"], nodes["value"], 0)
                trees.append(
                    _Tree(
                        nodes["is_leaf"].astype(bool),
                        nodes["feature_idx"],
                        nodes["num_threshold"],
                        nodes["left"].astype(np.int64),
                        nodes["right"].astype(np.int64),
                        value,
                        int(nodes["depth"].max()),
                    )
                )
        return cls.of(trees, base)


class Forest(Grove):
    """Extremely randomized trees (Geurts et al. 2006), all variants in one tree."""

    @classmethod
    def fit(cls, encoded: Encoded, quality: Floats, seed: int) -> Self:
        """Grow trees on the squared error of all variants together."""
        from sklearn.ensemble import ExtraTreesRegressor

        model = ExtraTreesRegressor(
            100,
            min_samples_leaf=max(5, len(quality) // 1_500),
            max_depth=_FOREST_DEPTH,
            max_features=0.3,
            random_state=seed,
        )
        model.fit(encoded.dense, quality)
        grown = [tree.tree_ for tree in model.estimators_]
        trees = [
            _Tree(
                tree.children_left < 0,
                tree.feature,
                tree.threshold,
                tree.children_left,
                tree.children_right,
                tree.value[:, :, 0] / len(grown),
                tree.max_depth,
            )
            for tree in grown
        ]
        return cls.of(trees, np.zeros(quality.shape[1]))


def _siblings_together(tree: _Tree) -> _Tree:
    """Return the tree with each right child behind the left one, and leaves leading to themselves.

    `right` keeps no meaning.
    """
    inner = np.flatnonzero(~tree.leaf)
    place = np.zeros(len(tree.leaf), np.int64)  # the root stays first
    place[tree.left[inner]] = 1 + 2 * np.arange(len(inner))
    place[tree.right[inner]] = 2 + 2 * np.arange(len(inner))
    order = np.argsort(place)
    leaf = tree.leaf[order]
    left = np.where(leaf, np.arange(len(leaf)), place[tree.left[order]])
    return tree._replace(
        leaf=leaf,
        feature=tree.feature[order],
        threshold=tree.threshold[order],
        left=left,
        value=tree.value[order],
    )


_FEW = 4_000
_MANY = 50_000


def _rounded_down(values: Floats) -> Singles:
    """Return thresholds in single precision that part single-precision rows just alike."""
    single = values.astype(np.float32)
    return np.where(single > values, np.nextafter(single, np.float32(-np.inf)), single)


def _within(indices: npt.NDArray[np.int32], limit: int) -> bool:
    return indices.ndim == 1 and bool(((indices >= 0) & (indices < limit)).all())
