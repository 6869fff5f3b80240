"""A small classifier of digits and a few of its images, for examples and first tries."""

from __future__ import annotations

import copy
import functools
from collections import OrderedDict

import torch
from torch import nn

from dovision.api import wrap
from dovision.interfaces import Classifier
from dovision.types import Batch

_FITTED, _SHOWN = 1500, 8  # digits
_CONFIDENT, _PENALTY = 6.0, 1.0  # logit of the label above those of others; on squared weights


def example() -> tuple[Classifier, Batch]:
    """A small classifier of digits, and eight digits that it was not fitted to; made in a moment.

    The digits are scikit-learn's, 8 x 8 pixels. The network is a fixed random convolution, `conv`, `relu` and `pool`,
    with a linear layer fitted in closed form: right on nine digits in ten.

    Returns:
        The classifier, of 10 classes, and a batch of eight images, shape (8, 1, 8, 8), with their labels.

    Example:
        >>> import dovision as dv
        >>> classifier, digits = dv.example()
        >>> digits.image.shape, digits.label.tolist()
        (torch.Size([8, 1, 8, 8]), [1, 7, 4, 6, 3, 1, 3, 9])
        >>> classifier(digits.image).argmax(1).tolist()
        [1, 7, 4, 6, 3, 1, 3, 9]
    """
    classifier, batch = _made()
    return copy.deepcopy(classifier), batch.detached()


@functools.cache
def _made() -> tuple[Classifier, Batch]:
    from sklearn.datasets import load_digits

    data = load_digits()
    image, label = torch.from_numpy(data.images).float().div(16).unsqueeze(1), torch.from_numpy(data.target).long()
    draws = torch.Generator().manual_seed(0)
    layers = OrderedDict(conv=nn.Conv2d(1, 16, 3), relu=nn.ReLU(), pool=nn.AvgPool2d(2), flat=nn.Flatten())
    layers["linear"] = nn.Linear(16 * 9, 10)
    network = nn.Sequential(layers)
    with torch.inference_mode(False), torch.no_grad():
        layers["conv"].weight.copy_(torch.randn(16, 1, 3, 3, generator=draws))  # type: ignore[operator]
        layers["conv"].bias.copy_(torch.randn(16, generator=draws))  # type: ignore[operator]
        features = network[:4](image[:_FITTED]).double()
        features = torch.cat([features, torch.ones(_FITTED, 1)], 1)
        wanted = _CONFIDENT * nn.functional.one_hot(label[:_FITTED], 10).double()
        square = features.T @ features + _PENALTY * torch.eye(features.shape[1])
        weight = torch.linalg.solve(square, features.T @ wanted).float()
        layers["linear"].weight.copy_(weight[:-1].T)  # type: ignore[operator]
        layers["linear"].bias.copy_(weight[-1])  # type: ignore[operator]
    rows = slice(_FITTED, _FITTED + _SHOWN)
    sample = torch.arange(_SHOWN)
    return wrap(network.eval(), 10, mean=[0.0], std=[1.0]), Batch(image[rows], label[rows], sample, sample)
