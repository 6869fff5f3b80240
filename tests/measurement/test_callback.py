"""The callback under `trainer.test`: the classifier of anybody's module, its images, and what is logged."""

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from dovision.interfaces import Classifier
from dovision.interventions.pixel_grid import PixelGrid
from dovision.measurement.callback import ClassifierUnderTest, Evaluation
from dovision.measurement.effects import EffectEvaluation
from dovision.measurement.on_validation import OnValidation
from dovision.types import Batch, Task
from made_trainer import quiet_trainer


class Sum(nn.Module):
    """Logits (0, sum of the pixels - 2)."""

    def forward(self, image):
        total = image.sum((1, 2, 3)) - 2
        return torch.stack([torch.zeros_like(total), total], 1)


class Foreign(pl.LightningModule):
    """Anybody's module, of images that were normalised by mean .5 and std .25; its `test_step` returns nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Sum()

    def forward(self, image):
        return self.network(0.25 * image + 0.5)

    def test_step(self, batch, batch_idx, dataloader_idx=0):
        assert len(batch) == 2


class WithClassifier(Foreign):
    """Has a classifier of images in [0, 1] as an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = Classifier(self.network, Task("multiclass", ("dark", "bright")), [0.0], [1.0])


CENTRED = nn.Sequential(nn.BatchNorm2d(1, track_running_stats=False), Sum())
OF_BATCH = Classifier(CENTRED, Task("multiclass", ("dark", "bright")), [0.0], [1.0])


class Collects(Evaluation):
    """Keeps logits and images, and logs their number."""

    name = "collects"

    def tables(self):
        return {}

    def start(self, batch):
        self.found: list[tuple[Batch, torch.Tensor]] = []

    def rows(self, batch, logits, dataloader_idx):
        self.found.append((batch, logits))
        return {}

    def numbers(self):
        return {"images/all": float(self.tested), "images/none": torch.nan}


IMAGE = torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(0))


def collected(module, folder, *, loaders=1, inference_mode=False, normalised=True, **settings):
    callback = Collects(folder=folder, **settings)
    trainer = quiet_trainer(callback, inference_mode=inference_mode)
    image = (IMAGE - 0.5) / 0.25 if normalised else IMAGE
    loader = DataLoader(TensorDataset(image, (IMAGE.sum((1, 2, 3)) > 2).long()), 2)
    logged = trainer.test(module, [loader] * loaders if loaders > 1 else loader, verbose=False)
    return callback, logged[0]


NORMALISED = {"mean": [0.5], "std": [0.25]}


@pytest.mark.parametrize(
    ("module", "settings"),
    [
        (Foreign(), NORMALISED),
        (Foreign(), {**NORMALISED, "task": Task("multiclass", ("dark", "bright"))}),
        (Foreign(), {**NORMALISED, "classifier": Classifier(Sum(), Task("multiclass", ("a", "b")), [0.0], [1.0])}),
        (WithClassifier(), NORMALISED),
        (WithClassifier(), {"normalised": False}),
    ],
)
def test_the_classifier_is_found_in_anybodys_module(module, settings, tmp_path):
    callback, logged = collected(module, tmp_path, **settings)
    image, logits = (
        torch.cat([batch.image for batch, _ in callback.found]),
        torch.cat([out for _, out in callback.found]),
    )
    torch.testing.assert_close(image, IMAGE)
    torch.testing.assert_close(logits, Sum()(IMAGE))
    assert len(callback.classifier.task.classes) == 2
    assert logged == {"images/all": 5.0}


CLASSIFIER = Classifier(Sum(), Task("multiclass", ("few", "many")), [0.0], [1.0])


@pytest.mark.parametrize(
    ("module", "settings"),
    [(Foreign(), NORMALISED), (ClassifierUnderTest(CLASSIFIER), {"classifier": CLASSIFIER, **NORMALISED})],
    ids=["anybody's", "own"],
)
def test_numbers_reach_loggers_and_the_metrics_of_the_trainer(tmp_path, module, settings):
    callback, logger = Collects(**settings), pl.loggers.CSVLogger(tmp_path)
    trainer = quiet_trainer(callback, logger=logger)
    trainer.test(module, DataLoader(TensorDataset((IMAGE - 0.5) / 0.25, torch.zeros(5).long())), verbose=False)
    assert trainer.callback_metrics["images/all"] == 5
    logger.save()
    assert "images/all" in (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").read_text()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inference_mode": True}, r"Collects needs gradients, .* Set inference_mode=False: pl.Trainer\(infer"),
        ({"loaders": 2}, "Collects needs dataloaders: 1, got 2"),
        ({}, r"images must lie in \[0, 1\], got"),  # images are normalised, and it was not told how
        ({**NORMALISED, "task": "multilabel"}, "labels must be of shape \\(2, 2\\) for a multilabel task"),
        ({"classifier": Sum()}, "classifier must be a Classifier, as wrap makes one"),
        ({**NORMALISED, "classifier": OF_BATCH}, "must not depend on the other images of its batch, but it does"),
    ],
)
def test_a_test_that_cannot_be_measured_is_refused_in_a_sentence(settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        collected(Foreign(), tmp_path, **settings)


SIZE = "mean_abs_expected_effect/clean"
SLOPES = (1.0, 3.0, 2.0)  # of the epochs


class Steps(pl.LightningModule):
    """Logits (0, slope * sum of the pixels); each epoch sets another slope."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(0.0))

    def forward(self, image):
        total = self.slope * image.sum((1, 2, 3))
        return torch.stack([torch.zeros_like(total), total], 1)

    def on_train_epoch_start(self):
        self.slope.data.fill_(SLOPES[self.current_epoch])

    def training_step(self, batch, batch_idx):
        return 0 * self(batch[0]).sum()

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


class Noted(Callback):
    def __init__(self) -> None:
        self.sizes: list[float] = []

    def on_train_epoch_end(self, trainer, pl_module):
        self.sizes.append(float(trainer.callback_metrics[SIZE]))


def test_a_checkpoint_is_chosen_by_the_effects_of_each_epoch(tmp_path):
    data = DataLoader(TensorDataset(torch.full((5, 1, 2, 2), 0.25), torch.ones(5).long()), 2)
    effects, noted = EffectEvaluation(PixelGrid(1, 1), tmp_path / "effects"), Noted()
    best = ModelCheckpoint(tmp_path, filename="best", monitor=SIZE, mode="max")
    trainer = quiet_trainer(
        OnValidation(effects), noted, best, max_epochs=3, default_root_dir=tmp_path, enable_checkpointing=True
    )
    trainer.fit(Steps(), data, data)
    control = torch.sigmoid(torch.tensor(SLOPES).double())  # the pixels' sum is 1, and that of a black image 0
    expected = (0.5 - control) * control + (control - 0.5) * (1 - control)
    assert noted.sizes == pytest.approx(expected.abs().tolist(), abs=1e-6)
    assert torch.load(best.best_model_path, weights_only=True)["state_dict"]["slope"] == 3
    written = {"effect_sums.parquet", "effects.parquet", "samples.parquet"}
    assert {path.name for path in (tmp_path / "effects").iterdir()} == written
