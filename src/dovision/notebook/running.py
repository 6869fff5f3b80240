"""Device and display of a measurement in a notebook."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import NamedTuple

import torch

from dovision.interfaces import Classifier
from dovision.io.progress import DISPLAY


class Running(NamedTuple):
    """Device and display of a measurement.

    Args:
        device: to which the classifier is taken meanwhile; None: its own.
        progress: whether progress is shown, where there is a terminal or a notebook.
    """

    device: torch.device | str | None = None
    progress: bool = True

    @contextmanager
    def on(self, classifier: Classifier) -> Iterator[torch.device]:
        """Take the classifier to the device for a block, with or without progress.

        Raises:
            ValueError: the machine has no such device.
        """
        home = device = classifier.mean.device
        if self.device is not None:
            try:
                device = torch.empty(0, device=self.device).device
            except (RuntimeError, AssertionError, TypeError) as error:  # torch without CUDA fails by an assertion
                reason = str(error).partition("\n")[0]
                raise ValueError(f"device must be one of this machine, got {self.device!r}: {reason}") from error
        try:
            with nullcontext() if self.progress else DISPLAY.silenced():
                classifier.to(device)
                yield device
        finally:
            if device != home:
                classifier.to(home)
