"""A linear head for encoders that have none: logistic regression on their features ("linear probe").

Features are means: of a text's hidden states over its tokens, of an image's over its patches or places.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmark.errors import Unavailable
from benchmark.host import libraries

_ITERATIONS = 2000


class LinearHead(NamedTuple):
    """Logits are `features @ weight + bias`."""

    weight: np.ndarray
    """float32 of (width, classes)."""
    bias: np.ndarray
    classes: tuple[str, ...]

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Logits of (items, classes)."""
        answers: np.ndarray = features @ self.weight + self.bias
        return answers


def features(hidden: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Means of (items, width), from (items, places, width) or (items, width, height, width of the map)."""
    if hidden.ndim == 4:  # noqa: PLR2004 - a map of a convolutional network
        of_map: np.ndarray = hidden.mean(axis=(2, 3), dtype=np.float32)
        return of_map
    if mask is None:
        of_patches: np.ndarray = hidden.mean(axis=1, dtype=np.float32)
        return of_patches
    weights = mask[..., None].astype(np.float32)
    means: np.ndarray = (hidden * weights).sum(axis=1) / weights.sum(axis=1).clip(min=1)
    return means


def fit(values: np.ndarray, labels: Sequence[str], classes: Sequence[str]) -> LinearHead:
    """Fit logistic regression, with scikit-learn's usual penalty.

    Raises:
        Unavailable: scikit-learn isn't installed, or there is one class only.
    """
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise Unavailable(
            f"head=linear_probe: scikit-learn fits it: {libraries.command_for('accuracy')}"
        ) from error
    known = sorted(set(labels))
    if len(known) < 2:  # noqa: PLR2004 - nothing to tell apart
        raise Unavailable(f"head=linear_probe: all items to fit on have the class {known[0]}: add others")
    fitted = LogisticRegression(max_iter=_ITERATIONS).fit(values, np.array(labels))
    weight, bias = fitted.coef_.T, fitted.intercept_
    if len(known) == 2:  # noqa: PLR2004 - scikit-learn then has one column, for the second class
        weight, bias = np.hstack([-weight / 2, weight / 2]), np.concatenate([-bias / 2, bias / 2])
    order = [known.index(name) for name in classes if name in known]
    return LinearHead(
        weight[:, order].astype(np.float32),
        bias[order].astype(np.float32),
        tuple(name for name in classes if name in known),
    )


def save(head: LinearHead, folder: Path) -> None:
    """Write it as safetensors, with the names of its classes."""
    from safetensors.numpy import save_file

    arrays = {"weight": np.ascontiguousarray(head.weight), "bias": np.ascontiguousarray(head.bias)}
    save_file(arrays, folder / "head.safetensors", {"classes": json.dumps(head.classes)})


def load(folder: Path) -> LinearHead:
    """Read what `save` wrote."""
    from safetensors import safe_open

    with safe_open(folder / "head.safetensors", "np") as stored:
        classes = tuple(json.loads(stored.metadata()["classes"]))
        return LinearHead(stored.get_tensor("weight"), stored.get_tensor("bias"), classes)
