"""Detectors: scores that separate attacked images from clean ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import ExitStack
from types import MappingProxyType
from typing import final

import torch
from torch import Tensor, nn

from dovision import checks
from dovision.interfaces.classifier import Classifier, ClassifierComponent
from dovision.module_state import outside_inference_mode
from dovision.types import Batch


class Detector(ClassifierComponent, ABC):
    """Score that separates attacked from clean images, in three steps: features, a fit, a score.

    All in torch, so that an adaptive attacker can follow the gradient from the score to the image. An unsupervised
    detector is fitted to clean images only.

    Example:
        >>> class Darkness(dv.Detector):
        ...     passes = 0
        ...     def read_features(self, batch, classifier):
        ...         return 1 - batch.image.mean((2, 3))
        >>> classifier, digits = dv.example()
        >>> detector = Darkness()
        >>> detector.score(detector.read(digits, classifier)).shape
        torch.Size([8])
    """

    supervised = False  # is fitted to attacked images as well
    passes: int  # forward passes that reading an image takes; known once one was read
    reads_code = False  # needs `classifier.coded`, the one with its autoencoder
    tuned: Mapping[str, object] = MappingProxyType({})  # settings that the fit has chosen, in plain types
    _fitted = False

    @abstractmethod
    def read_features(self, batch: Batch, classifier: Classifier) -> Tensor:
        """Features of images, shape (B, F) float32; each image's depend on that image alone.

        Args:
            batch: images; their labels are not to be looked at.
            classifier: the one under attack, in eval mode.
        """

    def fit_features(self, clean: Tensor, attacked: Tensor) -> None:
        """Fit to at least two finite rows per kind, shapes (N, F) and (M, F); M is 0 for an unsupervised detector.

        Assigns new attributes and edits none, so that shallow copies can be fitted to different images. A setting that
        is chosen by these rows, such as a step size, is read for all its candidates, and the choice is put in `tuned`.
        """

    def score_features(self, features: Tensor) -> Tensor:
        """Score from features, (B, F) to (B,), higher for attacked images; by default the first feature."""
        return features[:, 0]

    def sum_features(self, features: Tensor) -> Tensor | None:
        """Unfitted comparator of a fit that rises with each feature, shape (B,): their sum. None of other fits."""
        return None

    @property
    def needs_fit(self) -> bool:
        """Return whether the detector must be fitted."""
        return type(self).fit_features is not Detector.fit_features

    @final
    def read(self, batch: Batch, classifier: Classifier) -> Tensor:
        """Features of images, shape (B, F), with a gradient if the images require one; see `read_features`."""
        with outside_inference_mode():
            return self.read_features(batch.detached() if batch.image.is_inference() else batch, classifier)

    @final
    def read_views(self, batch: Batch, classifier: Classifier) -> tuple[Tensor, Tensor]:
        """Features, shape (B, F), and the logits that they are read from, shape (B, V, K).

        The first view is the image itself. The others are the classifier's passes over edited images, while these
        require a gradient: a pass counts if it has a row for each image, in their order. An adaptive attacker makes
        all of them agree.
        """
        unedited, edited = list[Tensor](), list[Tensor]()

        def note(network: nn.Module, inputs: tuple[Tensor, ...], logits: Tensor) -> None:
            if len(logits) == len(batch.image):
                (unedited if network is classifier and inputs[0] is batch.image else edited).append(logits)

        with ExitStack() as hooks:
            for network in (classifier, *classifier.coded):
                hooks.enter_context(network.register_forward_hook(note))
            features = self.read(batch, classifier)
        first = unedited[0] if unedited else classifier(batch.image)
        return features, torch.stack([first, *edited], 1)

    @final
    def fit(self, clean: Tensor, attacked: Tensor) -> None:
        """Fit to features of validation images, shapes (N, F) and (M, F); see `fit_features`.

        Raises:
            ValueError: there are fewer than two images of a kind, or any attacked ones for an unsupervised detector;
                the kinds were read differently; a number is not finite.
        """
        if self.needs_fit:
            checks.fit_rows(type(self).__name__, clean, attacked, self.supervised)
            with outside_inference_mode():
                self.fit_features(clean.detach().clone(), attacked.detach().clone())
        self._fitted = True

    @final
    def score(self, features: Tensor) -> Tensor:
        """Score from features, (B, F) to (B,), higher for attacked images; B may be 0.

        Raises:
            ValueError: the detector was not fitted.
        """
        if self.needs_fit and not self._fitted:
            raise ValueError(
                f"{type(self).__name__} must be fitted before it scores. Fit it to clean validation images."
            )
        return self.score_features(features) if len(features) else features.new_zeros(0)
