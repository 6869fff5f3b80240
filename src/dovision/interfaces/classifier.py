"""Classifiers, the autoencoders inserted into them, and the base of components that are handed one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dovision import checks
from dovision.functional import logit_checks
from dovision.functional.outputs import Reading, probability, reading, task_logits
from dovision.interfaces.pastable_repr import PastableRepr
from dovision.types import Layout, Preprocessing, Shape, Task


class Classifier(nn.Module):
    """A network with its normalisation inside: images in [0, 1] to logits, shape (B, K).

    Args:
        network: any module from normalised images, shape (B, C, H, W), to logits, shape (B, K), or of one number an
            image, the logit of the second of two classes.
        task: the classes, in the order of the logits.
        mean, std: one number for all channels, or one a channel, in pixel units; three on a grey image show it to
            the network as three channels.
        output: how logits are read from what the network returns, see `functional.outputs.reading`.

    Raises:
        ValueError: the network is no module, mean and std are no pixel units, or output is no reading; in a call, the
            image has another type, device or number of channels, or the network returns no logits, or those of other
            classes.

    Example:
        >>> import torch
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
        >>> classifier = dv.Classifier(network, dv.Task("multiclass", ("dark", "bright")), mean=[0.5], std=[0.25])
        >>> classifier(torch.rand(3, 1, 8, 8)).shape
        torch.Size([3, 2])
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        mean: Sequence[float],
        std: Sequence[float],
        output: str | Sequence[int] | Reading | None = None,
    ) -> None:
        super().__init__()
        mean, std = checks.pixel_units("mean", mean), checks.pixel_units("std", std)
        if min(std) <= 0:
            raise ValueError(f"std must be above 0, got {list(std)!r}.")
        if len({1, len(mean), len(std)}) > 2:
            raise ValueError(f"mean and std must be of the same channels, got {len(mean)} and {len(std)} numbers.")
        self.network = checks.instance("network", network, nn.Module, "a torch module from images to logits")
        self.task = task
        self.output = reading(output)
        self.arguments: Mapping[str, Any] = {}  # plain ones, with which its factory makes it without the files it read
        self.preprocessing: Preprocessing | None = None  # of the images that its weights were trained on; None: unknown
        self.coded: tuple[Classifier, ...] = ()  # the same with an autoencoder; in a tuple, since it is no submodule
        self.sites: dict[str, str] = {}  # names for sites, such as CODE, and the submodules that they stand for
        like = next((parameter for parameter in network.parameters() if parameter.is_floating_point()), torch.zeros(()))
        for name, numbers in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(numbers, dtype=like.dtype, device=like.device).reshape(-1, 1, 1))

    def __call__(self, image: Tensor) -> Tensor:
        checks.network_image(image, self.mean, max(len(self.mean), len(self.std)))
        return logit_checks.logits(super().__call__(image), len(image), len(self.task.classes))

    def forward(self, image: Tensor) -> Tensor:
        values = self.output(self.network((image - self.mean) / self.std))
        return task_logits(values, self.task, self.output is probability)


class Autoencoder(nn.Module):
    """Network behind a layer of a classifier; the channels of its code are units of interventions.

    A subclass has an encoder and a decoder. One with `loss_terms` is fitted to the activations of the classifier, by
    the sum of these terms; any other through the classifier, by `training.autoencoder.loss`.
    """

    after: str  # the layer of the network whose output passes through it
    width: int  # channels of that output
    layout: Layout = Layout.NCHW  # of that output and of the code; NCHW is also that of (B, C)
    encoder: nn.Module  # from the layer's output to the code, of the same layout
    decoder: nn.Module  # from the code to a value as shaped as the layer's output
    code_channels: int
    first_channels: tuple[int, int] | None = None  # of the maps of encoder[0] and decoder[0]
    loss_terms: tuple[str, ...] = ()

    def __new__(cls, *positional: Any, **keywords: Any) -> Any:
        checks.arguments(cls.__init__, (None, *positional), keywords)
        return super().__new__(cls)

    def forward(self, activation: Tensor) -> Tensor:
        return self.decoder(self.encoder(activation))

    def losses(self, activation: Tensor) -> dict[str, Tensor]:
        """The `loss_terms` of activations without a gradient, weighted scalars; called once a step while it is fitted.

        In eval mode nothing of the autoencoder is changed.
        """
        return {}

    def after_step(self) -> None:
        """Project parameters into their domain after each optimizer step; nothing by default."""

    def after_validation(self, activity: Tensor) -> None:
        """Receive the mean size of each code channel over all positions, shape (code_channels,)."""

    def after_fit(self) -> None:
        """Reorder the fitted latents without changing the function; nothing by default."""


class ClassifierComponent(PastableRepr):
    """Component that receives images and their classifier: an attack, an explainer or a detector.

    Its inputs are tensors of which gradients can be had, also if the caller is in inference mode.
    """

    def check(self, classifier: Classifier, shape: Shape) -> None:
        """Raise if the component cannot handle the classifier or images of this shape; passes by default.

        Args:
            classifier: perhaps not fitted, and without numbers, on the meta device.
            shape: (C, H, W) of the images.

        Raises:
            ValueError: says why.
        """
