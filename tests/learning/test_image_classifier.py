from __future__ import annotations

from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from dovision.contracts import Batch, Classifier, Task
from dovision.learning.image_classifier import ImageClassifier


class Bright(torch.utils.data.Dataset):
    """Bright images are of class 1, dark ones of class 0."""

    def __init__(self, images: int, multilabel: bool = False) -> None:
        self.images = images
        self.multilabel = multilabel

    def __len__(self) -> int:
        return self.images

    def __getitem__(self, index: int) -> Batch:
        label = torch.tensor([index % 2, 1 - index % 2]).float() if self.multilabel else torch.tensor(index % 2)
        return Batch(torch.full((1, 4, 4), 0.2 + 0.6 * (index % 2)), label, torch.tensor(index), torch.tensor(index))


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_it_learns_what_can_be_learned_and_scores_it(kind):
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
    classifier = Classifier(network, Task(kind, ("dark", "bright")), [0.5], [0.5])
    module = ImageClassifier(classifier, partial(torch.optim.Adam, lr=0.1))
    loader = DataLoader(Bright(32, kind == "multilabel"), batch_size=8)
    trainer = pl.Trainer(
        max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, loader, loader)
    assert trainer.callback_metrics["val_score"] == 1
    assert trainer.test(module, loader, verbose=False) == [{"test_score": 1.0}]


def test_normalised_images_are_refused_with_the_remedy():
    classifier = Classifier(torch.nn.Flatten(), Task("multiclass", ("a", "b")), [0.0], [1.0])
    module = ImageClassifier(classifier)
    zeros = torch.zeros(1, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"image must lie in \[0, 1\], got \[-2.00, 2.00\]. Normalise inside"):
        module.test_step(Batch(torch.tensor([-2.0, 2.0]).reshape(1, 1, 1, 2), zeros, zeros, zeros), 0)
