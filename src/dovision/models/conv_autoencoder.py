"""The causal autoencoder, and its insertion after a layer of a trained classifier."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from dovision import checks
from dovision.interfaces import Autoencoder, Classifier
from dovision.module_state import evaluating
from dovision.propagation.layouts import find_layout
from dovision.propagation.sites import find_site
from dovision.propagation.whole_passes import WholePasses
from dovision.types import CODE, INPUT, Layout, Shape

RELU = "relu"
ACTIVATIONS = (RELU, "none")
CHANNELS_FIRST = (Layout.NCHW, Layout.NCT, Layout.NC)


class ConvAutoencoder(Autoencoder):
    """Convolutions of stride 1, with a ReLU after each but the last or linear throughout.

        channels 128 - 32 - 16 - 32 - 128, code 2:    h -> 32 -> [16] -> 32 -> h'
                                                      `- encoder -'   `- decoder -'

    Args:
        after: the layer of a network whose output passes through it.
        channels: of the activations, of each hidden layer, and of the activations again.
        code: which of `channels` is the code, counted from 0.
        kernel_size: odd.
        activation: relu; or none, for an autoencoder that is linear throughout, as those of the source are. A linear
            code's channel at 0 is in the middle of its range, after a ReLU at its border.

    Source: arXiv:1802.00541.

    Example:
        >>> import torch
        >>> autoencoder = dv.ConvAutoencoder("relu", channels=[16, 4, 16], code=1, kernel_size=3)
        >>> autoencoder(torch.rand(2, 16, 6, 6)).shape
        torch.Size([2, 16, 6, 6])
    """

    def __init__(
        self, after: str, channels: Sequence[int], code: int, kernel_size: int, activation: str = RELU
    ) -> None:
        super().__init__()
        self.after = after
        channels = list(channels) if isinstance(channels, Sequence) else [channels]
        self.channels = tuple(checks.positive_int("autoencoder.channels", c, 4096) for c in channels)
        if len(self.channels) < 3 or self.channels[0] != self.channels[-1]:
            raise ValueError(
                "autoencoder.channels must begin and end with the channels of the layer, with the code between, "
                f"got {channels!r}."
            )
        if not 0 < code < len(self.channels) - 1:
            raise ValueError(f"autoencoder.code must lie in [1, {len(self.channels) - 2}], got {code!r}.")
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"autoencoder.kernel_size must be odd, got {kernel_size!r}.")
        between = [nn.ReLU()] if checks.choice("autoencoder.activation", activation, ACTIVATIONS) == RELU else []
        layers = [
            nn.Sequential(nn.Conv2d(a, b, kernel_size, padding=kernel_size // 2), *between)
            for a, b in pairwise(self.channels)
        ]
        layers[-1] = nn.Sequential(layers[-1][0])  # without a ReLU
        self.encoder = nn.Sequential(*layers[:code])
        self.decoder = nn.Sequential(*layers[code:])
        self.width = self.channels[0]
        self.code_channels = self.channels[code]
        self.first_channels = (self.channels[1], self.channels[code + 1])  # of encoder and decoder


def insert(classifier: Classifier, autoencoder: Autoencoder, shape: Shape) -> Classifier:
    """Copy the classifier with layer `autoencoder.after` followed by the autoencoder.

    The copy's site CODE is the output of the encoder; the classifier given stays as it is.

    Args:
        classifier: trained.
        autoencoder: of the channels of the layer's output.
        shape: (C, H, W) of the images.

    Raises:
        ValueError: the network has no such layer (the error names the nearest ones), or one with other channels, or
            with none on axis 1.
    """
    after = autoencoder.after
    names = [name for name, _ in classifier.network.named_modules() if name]
    checks.choice("autoencoder.after", after, names)
    with_autoencoder = copy.deepcopy(classifier)
    layer = with_autoencoder.network.get_submodule(after)
    width = _width(with_autoencoder, autoencoder, shape)
    if width != autoencoder.width:
        raise ValueError(
            f"autoencoder.channels must agree with the {width} channels of layer {after!r}, got {autoencoder.width}."
        )
    pair = nn.Sequential(OrderedDict(layer=layer, autoencoder=autoencoder.train(with_autoencoder.training)))
    with_autoencoder.network.set_submodule(after, pair)
    with_autoencoder.sites = {**classifier.sites, CODE: f"{after}.autoencoder.encoder"}
    return with_autoencoder


def inserted_autoencoder(classifier: Classifier) -> Autoencoder:
    """Autoencoder inserted into a classifier by `insert`."""
    return classifier.network.get_submodule(classifier.sites[CODE].rpartition(".")[0])  # type: ignore[return-value]


class Reached(Exception):
    """Ends a pass at an autoencoder."""


@torch.no_grad()
def _width(classifier: Classifier, autoencoder: Autoencoder, shape: Shape) -> int:
    """Number of channels of the layer to insert after, in the autoencoder's layout.

    Raises:
        ValueError: that is not given, and axis 1 of the layer's value holds something else, or nothing shows what.
    """
    name, image = autoencoder.after, classifier.mean.new_zeros(1, *shape)
    if (site := find_site(classifier, name)) is None:
        raise ValueError(f"a layer of the network is needed, got {INPUT!r}.")
    if autoencoder.layout in (Layout.NHWC, Layout.NTC):
        site = site.presented(autoencoder.layout)
    elif (layout := find_layout(classifier, site, shape, f"layer {name!r}")) not in CHANNELS_FIRST:
        raise ValueError(
            f"layer {name!r} must have its channels on axis 1, as in (B, C, H, W) or (B, C), but it is of layout "
            f"{layout.value}. Choose another layer."
        )
    with evaluating(classifier):
        return WholePasses(classifier, site).clean(image).site.shape[1]
