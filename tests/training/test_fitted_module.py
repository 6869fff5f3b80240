"""What a fit does to weights and step sizes, against a plain loop of torch, and what it logs."""

from functools import partial
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, LambdaLR, OneCycleLR, ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader

from dovision.interfaces import Classifier
from dovision.training.image_classifier import ImageClassifier
from dovision.training.schedule import Schedule, check_monitor
from dovision.types import Batch, Task
from made_trainer import quiet_trainer

EPOCHS, STEPS, SIZE = 5, 6, 4
LOGGED = ("train_loss", "val_loss", "val_score")
IMAGE = torch.rand(STEPS * SIZE - 1, 1, 4, 4, generator=torch.Generator().manual_seed(0))
LABEL = torch.randint(3, (len(IMAGE),), generator=torch.Generator().manual_seed(1))
ITEMS = [Batch(IMAGE[n], LABEL[n], torch.tensor(n), torch.tensor(n)) for n in range(len(IMAGE))]


class Recorded(Logger):
    """Keeps what it is handed."""

    name = version = "recorded"

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, Any]] = []

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self.rows.append({**metrics, "step": step})

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        raise AssertionError("the configuration is logged elsewhere")

    def column(self, name: str) -> list[float]:
        return [row[name] for row in self.rows if name in row]


def classifier() -> Classifier:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))
    return Classifier(network, Task("multiclass", ("a", "b", "c")), [0.5], [0.5])


def fit(module: pl.LightningModule, every: int = 1, epochs: int = EPOCHS) -> Recorded:
    logger, loader = Recorded(), DataLoader(ITEMS, SIZE)
    quiet_trainer(max_epochs=epochs, logger=logger, log_every_n_steps=every).fit(module, loader, loader)
    return logger


def plain_loop(optimizer, schedule, warmup):
    """A fit in torch alone: its weights, the step sizes of its steps, and the mean losses of its epochs."""
    net = classifier()
    criterion = nn.CrossEntropyLoss()
    optimizer, rates, losses, val_losses = optimizer(net.parameters()), [], [], []
    scheduler = None if schedule is None else schedule.scheduler(optimizer)
    full = optimizer.param_groups[0]["lr"]
    for epoch in range(EPOCHS):
        total = 0.0
        for image, label, _, _ in DataLoader(ITEMS, SIZE):
            (group,) = optimizer.param_groups
            full, step = group["lr"], len(rates)
            group["lr"] = full * min(1.0, (step + 1) / warmup) if warmup else full
            rates.append(group["lr"])
            optimizer.zero_grad()
            loss = criterion(net(image), label)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(image)
            group["lr"] = full
            if schedule is not None and schedule.interval == "step" and (step % STEPS + 1) % schedule.frequency == 0:
                scheduler.step()
        losses.append(total / len(IMAGE))
        with torch.no_grad():
            val_losses.append(criterion(net(IMAGE), LABEL).item())
        if schedule is not None and schedule.interval == "epoch" and (epoch + 1) % schedule.frequency == 0:
            scheduler.step(*([val_losses[-1]] if schedule.needs_monitor else []))
    return net.state_dict(), rates, losses, val_losses


SCHEDULES = {
    "none": None,
    "cosine": Schedule(partial(CosineAnnealingLR, T_max=EPOCHS)),
    "cosine by step": Schedule(partial(CosineAnnealingLR, T_max=EPOCHS * STEPS), "step"),
    "every other epoch": Schedule(partial(StepLR, step_size=1, gamma=0.3), frequency=2),
    "in closed form": Schedule(partial(LambdaLR, lr_lambda=lambda step: 0.9**step), "step", 2),
    "one cycle": Schedule(partial(OneCycleLR, max_lr=0.5, total_steps=EPOCHS * STEPS + 1), "step"),
    "plateau": Schedule(partial(ReduceLROnPlateau, patience=0, threshold=0.05), monitor="val_loss"),
}


@pytest.mark.parametrize("warmup", [0, 9])
@pytest.mark.parametrize("name", SCHEDULES)
def test_weights_and_step_sizes_are_those_of_a_plain_loop(name, warmup):
    schedule, optimizer = SCHEDULES[name], partial(SGD, lr=0.4, momentum=0.5)
    module = ImageClassifier(classifier(), optimizer, schedule, warmup)
    logger = fit(module)
    assert set(LOGGED) <= set(module.logged) <= {name for row in logger.rows for name in row}
    weights, rates, losses, val_losses = plain_loop(optimizer, schedule, warmup)
    assert logger.column("lr") == pytest.approx(rates, rel=1e-6)
    for key, value in module.classifier.state_dict().items():
        torch.testing.assert_close(value, weights[key], rtol=1e-4, atol=1e-6)
    assert logger.column("train_loss") == pytest.approx(losses, rel=1e-5)
    assert logger.column("val_loss") == pytest.approx(val_losses, rel=1e-5)


def test_every_few_steps_loss_and_step_size_are_logged_on_the_axis_of_steps():
    logger = fit(ImageClassifier(classifier(), partial(SGD, lr=0.1)), every=4, epochs=2)
    rows = [row for row in logger.rows if "train_loss_step" in row]
    assert [row["step"] for row in rows] == [3, 7, 11]
    assert all(set(row) == {"train_loss_step", "lr", "step"} for row in rows)
    assert all(row["train_loss_step"] > 0 for row in rows)


def test_a_frozen_backbone_is_fitted_from_the_epoch_on_that_is_configured():
    module = ImageClassifier(classifier(), partial(SGD, lr=0.1), frozen_epochs=2)
    seen: list[torch.Tensor] = []
    start = module.classifier.network[1].weight.clone()

    class Watch(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            seen.append(pl_module.classifier.network[1].weight.detach().clone())

    quiet_trainer(Watch(), max_epochs=3).fit(module, DataLoader(ITEMS, SIZE), DataLoader(ITEMS, SIZE))
    assert [torch.equal(weight, start) for weight in seen] == [True, True, False]
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_plain_values_alone_are_hyperparameters_and_come_back_with_a_checkpoint(tmp_path):
    module = ImageClassifier(classifier(), partial(SGD, lr=0.1), None, 3, frozen_epochs=1)
    assert {name: module.hparams[name] for name in ("warmup_steps", "frozen_epochs")} == {
        "warmup_steps": 3,
        "frozen_epochs": 1,
    }
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(module, DataLoader(ITEMS, SIZE))
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    again = ImageClassifier.load_from_checkpoint(tmp_path / "x.ckpt", classifier=classifier(), weights_only=True)
    assert (again.warmup_steps, again.frozen_epochs) == (3, 1)
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in again.state_dict().items())


@pytest.mark.parametrize(
    ("monitor", "message"),
    [
        (None, r"x.monitor must name a metric that the fit logs, got none. They are: train_loss, val_loss, val_score"),
        ("val_los", r"got 'val_los'. Did you mean val_loss or val_score\? They are: train_loss"),
        ("accuracy", r"got 'accuracy'. They are: train_loss, val_loss, val_score\."),
    ],
)
def test_a_monitor_that_nobody_logs_is_refused_with_those_that_there_are(monitor, message):
    with pytest.raises(ValueError, match=message):
        check_monitor("x", monitor, LOGGED)
    with pytest.raises(ValueError, match=message):
        Schedule(partial(ReduceLROnPlateau), monitor=monitor).check("x", LOGGED)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"scheduler": ExponentialLR}, "scheduler must be a scheduler with _partial_: true, got the class"),
        ({"interval": "batch"}, "interval must be one of epoch, step, got 'batch'"),
        ({"frequency": 0}, "frequency must be a whole number of at least 1, got 0"),
        ({"monitor": "val_loss"}, "monitor is looked at by ReduceLROnPlateau alone, got 'val_loss'. Set it to null"),
        ({"scheduler": partial(ReduceLROnPlateau), "interval": "step"}, "interval must be epoch for ReduceLROnPlateau"),
    ],
)
def test_what_does_not_go_together_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        Schedule(**{"scheduler": partial(ExponentialLR, gamma=0.5), **given})
