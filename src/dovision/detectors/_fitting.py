"""Images that detectors are fitted to, and checks of them."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

from dovision.interfaces import Detector

FeatureRows = npt.NDArray[np.float64]  # (N, F), a row an image
_T = TypeVar("_T")


def clean_rows(detector: Detector, clean: Tensor, attacked: Tensor) -> FeatureRows:
    """Features that an unsupervised detector is fitted to.

    Raises:
        ValueError: there are fewer than two clean images, or any attacked ones; a number is not finite.
    """
    if len(attacked):
        raise ValueError(
            f"{_name(detector)} is fitted to clean images only, got {len(attacked)} attacked ones. "
            "Leave them out, or choose a supervised detector."
        )
    return _checked(detector, "clean", clean)


def both_rows(detector: Detector, clean: Tensor, attacked: Tensor) -> tuple[FeatureRows, FeatureRows]:
    """Features that a supervised detector is fitted to.

    Raises:
        ValueError: there are fewer than two images of a kind; the kinds were read differently; a number is not finite.
    """
    if clean.shape[1:] != attacked.shape[1:]:
        raise ValueError(
            f"{_name(detector)} needs the same features of clean and attacked images, "
            f"got {tuple(clean.shape[1:])} and {tuple(attacked.shape[1:])}."
        )
    return _checked(detector, "clean", clean), _checked(detector, "attacked", attacked)


def fitted(detector: Detector, state: _T | None) -> _T:
    """The fitted state.

    Raises:
        ValueError: nothing was.
    """
    if state is None:
        raise ValueError(f"{_name(detector)} must be fitted before it scores. Fit it to clean validation images.")
    return state


def _checked(detector: Detector, kind: str, read: Tensor) -> FeatureRows:
    if len(read) < 2:
        raise ValueError(f"{_name(detector)} is fitted to at least 2 {kind} images, got {len(read)}.")
    finite = read.isfinite()
    if not finite.all():
        bad = (~finite).any(0).nonzero().flatten().tolist()
        images = int((~finite).any(1).sum())
        raise ValueError(
            f"what {_name(detector)} is fitted to must be finite, got nan or infinity in {images} of {len(read)} "
            f"{kind} images, in feature {', '.join(map(str, bad[:5]))}{', ...' if len(bad) > 5 else ''} "
            f"of 0 to {read.shape[1] - 1}."
        )
    return read.detach().double().cpu().numpy()


def _name(detector: Detector) -> str:
    return type(detector).__name__
