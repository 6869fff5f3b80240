"""The callbacks under Lightning's own trainer, with modules as people write them: the network is found, or named."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import dovision as dv
from dovision.measurement.callback import ClassifierUnderTest
from made_trainer import quiet_trainer

IMAGES = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(6) % 3
MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
NORMALISED = (IMAGES - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))


class Usual(pl.LightningModule):
    """Its forward returns logits."""

    def __init__(self):
        super().__init__()
        self.net, self.loss = network(), nn.CrossEntropyLoss()

    def forward(self, image):
        return self.net(image)

    def test_step(self, batch, batch_idx):
        self.log("loss", self.loss(self(batch[0]), batch[1]))


class OfBatches(Usual):
    """Its forward takes a batch of a dict, and returns a loss and logits, as of Hugging Face."""

    def forward(self, batch):
        logits = self.net(batch["pixel_values"])
        return SimpleNamespace(loss=self.loss(logits, batch["labels"]), logits=logits)

    def test_step(self, batch, batch_idx):
        self.log("loss", self(batch).loss)


class Nested(pl.LightningModule):
    """Has no forward, and its network two modules below."""

    def __init__(self):
        super().__init__()
        self.model = nn.Module()
        self.model.backbone, self.model.other = network(), nn.Linear(3, 3)

    def test_step(self, batch, batch_idx):
        self.log("loss", nn.functional.cross_entropy(self.model.backbone(batch[0]), batch[1]))


class Features(Usual):
    """Its forward takes batches, and its child before the last returns features, shape (B, 8)."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(192, 8))
        self.head = nn.Linear(8, 3)

    def forward(self, batch):
        return self.head(self.net(batch[0]))

    def test_step(self, batch, batch_idx):
        self(batch)


class Binary(pl.LightningModule):
    """Returns one logit an image; its labels are floats, as a binary cross-entropy takes them."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net, self.scale = nn.Sequential(nn.Flatten(), nn.Linear(192, 1)), nn.Linear(1, 1)

    def test_step(self, batch, batch_idx):
        self.net(batch[0])


@pytest.mark.parametrize(
    ("task", "labels"), [(dv.Task("multiclass", ("healthy", "ill")), (6, 1)), ("multilabel", (6,))]
)
def test_a_network_of_one_logit_is_measured_with_labels_of_its_loss(tmp_path, task, labels):
    named = {} if isinstance(task, dv.Task) else {"network": "net"}
    effects = dv.EffectEvaluation(dv.PixelGrid(2, 2), tmp_path, mean=MEAN, std=STD, task=task, **named)
    answers = (LABELS > 0).float().reshape(labels)
    module = Binary()
    quiet_trainer(effects).test(module, DataLoader(TensorDataset(NORMALISED, answers), 4), verbose=False)
    own = dv.wrap(module.net, 1, MEAN, STD, effects.classifier.task.kind)
    expected = dv.effects(own, (IMAGES, answers), dv.PixelGrid(2, 2), progress=False).summary["conditions"]["clean"]
    measured = effects.numbers()["mean_abs_expected_effect/clean"]
    assert measured == pytest.approx(expected["mean_abs_expected_effect"]["estimate"], 1e-4)
    assert effects.numbers()["accuracy/clean"] == expected["accuracy"]["estimate"]


class Dicts(torch.utils.data.Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, number):
        return {"pixel_values": NORMALISED[number], "labels": LABELS[number]}


PAIRS = TensorDataset(NORMALISED, LABELS)
MODULES = {
    "logits": (Usual, PAIRS, {}),
    "a loss, of dicts": (OfBatches, Dicts(), {}),
    "a network by its name": (Nested, PAIRS, {"network": "model.backbone"}),
}


@pytest.mark.parametrize(("module", "dataset", "named"), MODULES.values(), ids=MODULES)
def test_effects_are_those_of_the_network_in_the_log_dir_of_the_trainer(tmp_path, module, dataset, named):
    effects = dv.EffectEvaluation("pixel_grid", attack="fgsm", mean=MEAN, std=STD, **named)
    logger = pl.loggers.CSVLogger(tmp_path)
    logged = quiet_trainer(effects, logger=logger).test(module(), DataLoader(dataset, 4), verbose=False)[0]
    classifier = dv.wrap(network(), 3, MEAN, STD)
    expected = dv.effects(classifier, (IMAGES, LABELS), "pixel_grid", attack="fgsm")
    assert Path(effects.folder) == Path(logger.log_dir)
    assert {"samples.parquet", "effects.parquet"} <= {path.name for path in effects.folder.iterdir()}
    clean = expected.summary["conditions"]["clean"]
    assert logged["mean_abs_expected_effect/clean"] == pytest.approx(
        clean["mean_abs_expected_effect"]["estimate"], 1e-5
    )
    assert "loss" in logged
    assert {"mean_abs_expected_effect/clean", "success_rate/eps=0.0314"} & set(logged)


@pytest.mark.parametrize(
    ("module", "named", "message"),
    [
        (Nested, {}, "the network of a Nested must return logits of images of shape (3, 8, 8), but it raises "),
        (Nested, {"network": "backbone"}, "network must be one of , model, model.backbone"),
        (Usual, {"network": "loss"}, "Name the one that does: network='net'."),
        (Features, {}, "Name the one that does: network='net' or 'head'."),
        (Features, {"task": dv.Task("multiclass", ("a", "b", "c"))}, "Name the one that does: network='net' or 'head'"),
    ],
)
def test_a_network_that_is_not_found_is_asked_for(tmp_path, module, named, message):
    effects = dv.EffectEvaluation(dv.PixelGrid(2, 2), tmp_path, mean=MEAN, std=STD, **named)
    with pytest.raises(ValueError, match=re.escape(message)):
        quiet_trainer(effects).test(module(), DataLoader(PAIRS, 4), verbose=False)


class Beside(Features):
    """Has a network of features beside that of its logits."""

    def __init__(self):
        super().__init__()
        self.projector, self.net = self.net, network()

    def forward(self, batch):
        return self.net(batch["pixel_values"])


def test_of_several_networks_that_with_the_classes_of_the_task_is_measured_and_logged(tmp_path, caplog):
    task = dv.Task("multiclass", ("a", "b", "c"))
    effects = dv.EffectEvaluation(dv.PixelGrid(2, 2), tmp_path, mean=MEAN, std=STD, task=task)
    with caplog.at_level("INFO", "dovision"):
        quiet_trainer(effects).test(Beside(), DataLoader(Dicts(), 4), verbose=False)
    assert effects.classifier.task == task
    assert "EffectEvaluation measures net, 3 classes." in caplog.text


class NoSite(dv.Intervention):
    def units(self, shape):
        return ("all",)

    def do(self, value, unit, context):
        return 1 - value


def test_an_intervention_without_a_site_is_refused_where_the_callback_is_made(tmp_path):
    with pytest.raises(ValueError, match=r"NoSite must have a site, got none. Set NoSite.site = dovision.INPUT, or"):
        dv.EffectEvaluation(NoSite(), tmp_path)


def numbers_of(folder: Path | None, **settings: object) -> dict[str, float]:
    classifier, digits = dv.example()
    effects = dv.EffectEvaluation(dv.PixelGrid(2, 2), folder, classifier=classifier)
    trainer = quiet_trainer(effects, **settings)
    loader = DataLoader(TensorDataset(digits.image, digits.label), 4)
    (numbers,) = trainer.test(ClassifierUnderTest(classifier), loader, verbose=False)
    return numbers


def test_effects_without_an_attack_are_measured_under_the_default_inference_mode(tmp_path):
    assert numbers_of(tmp_path / "on", inference_mode=True) == numbers_of(tmp_path / "off", inference_mode=False)


def test_without_a_logger_a_folder_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="folder must be given without a logger, got None"):
        numbers_of(None)
    assert not [*tmp_path.iterdir()]


def test_a_fit_is_told_that_nothing_is_measured_in_it(caplog):
    dv.MapEvaluation(["grad_cam"], folder="maps").on_fit_start(None, None)
    assert "In a fit give the trainer dv.OnValidation(MapEvaluation(...))." in caplog.text
