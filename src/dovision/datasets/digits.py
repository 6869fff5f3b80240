"""Handwritten digits that come with scikit-learn: real, small, no download."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import sklearn.datasets
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

from dovision.datasets import _checks, _splits
from dovision.interfaces import Images, Source


class Digits(Images):
    """Digits of scikit-learn, 1,797 of 8 x 8 pixels, enlarged bilinearly; the same share of each digit in each split.

    Args:
        task, classes, shape: of the data; any height and width from 8 on.
        val_fraction, test_fraction: shares of the images.
        seed: of the split.

    Raises:
        ValueError: a fact is not what the data say.

    Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI repository, 1998 (its test part).

    Example:
        >>> import dovision as dv
        >>> digits = dv.component("dataset", "digits")
        >>> digits.shape, len(digits.split("test")), digits.split("test")[0].image.shape
        ((1, 32, 32), 450, torch.Size([1, 32, 32]))
    """

    def __init__(
        self,
        task: str,
        classes: Sequence[str],
        shape: Sequence[int],
        val_fraction: float,
        test_fraction: float,
        seed: int,
    ) -> None:
        data = load_digits()
        self.task = _checks.task(task, classes, ("multiclass",), "digits")
        _checks.agree("classes", self.task.classes, tuple(str(name) for name in data.target_names))
        self.shape = _checks.image_shape(shape)
        _checks.agree("shape", self.shape, (1, *(max(length, 8) for length in self.shape[1:])))
        _splits.check_fractions(val_fraction, test_fraction)
        self.rows = _splits.split_groups(
            range(len(data.target)), data.target.tolist(), val_fraction, test_fraction, seed
        )
        small = torch.from_numpy(data.images).float().unsqueeze(1)
        self.array = F.interpolate(small, size=self.shape[1:], mode="bilinear", align_corners=False) / 16
        self.label = torch.from_numpy(data.target).long()
        content = (
            data.images.astype(np.uint8).tobytes(),
            data.target.astype(np.uint8).tobytes(),
            repr(self.shape).encode(),
        )
        self.files = (Path(sklearn.datasets.__file__).with_name("data"),)
        self.content = _checks.fingerprint(content, self.rows)

    def source(self, split: str) -> Source:
        rows = torch.tensor(self.rows[split])
        images = self.array[rows]
        return Source(images.__getitem__, self.label[rows], rows, images.__getitem__)

    def source_table(self, split: str) -> pd.DataFrame:
        names = [f"digits-{row}" for row in self.rows[split]]
        return pd.DataFrame({"name": names, "group": names})
