"""The share of an evaluation's wall time that is forward passes and attack: DenseNet-121 at 224 pixels, PGD-10."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytorch_lightning as pl
from torch.utils.data import DataLoader

from dovision.attacks.gradient_ascent import PGD
from dovision.interventions.pixel_grid import PixelGrid
from dovision.measurement.callback import ClassifierUnderTest
from dovision.measurement.effects import EffectEvaluation, EffectOptions
from dovision.propagation import Propagation
from dovision.results.resumable_writer import Resume
from peers import batch_of, classifier_of


class Watch:
    """Adds up the seconds spent in the methods that it wraps."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def timed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - start

        return run


def share(images: int) -> float:
    """Of the wall time of `trainer.test`, on clean images and in one attacked condition, 14 x 14 cells each."""
    warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric)\..*")
    classifier, batch, attack = classifier_of("densenet121"), batch_of(images), PGD("2/255", steps=10)
    items = [batch.rows(row) for row in range(images)]
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        inference_mode=False,
    )
    watch = Watch()
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(Propagation, "__call__", watch.timed(Propagation.__call__)),
        patch.object(PGD, "__call__", watch.timed(PGD.__call__)),
    ):
        evaluation = EffectEvaluation(
            PixelGrid(14, 14), folder, attack, classifier, options=EffectOptions(resume=Resume(images))
        )
        trainer.callbacks.append(evaluation)  # type: ignore[attr-defined]
        started = time.perf_counter()
        trainer.test(ClassifierUnderTest(classifier), DataLoader(items, batch_size=4), verbose=False)
        return watch.seconds / (time.perf_counter() - started)
