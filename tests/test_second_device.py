"""Calls on a second device, and all components, in a process of its own: torch starts gradients' engine once."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

import dovision as dv
from made_second_device import COUNTS, SecondDevice, set_up, sim_trainer


@pytest.mark.long
def test_components_give_on_another_device_what_they_give_on_the_cpu():
    names = ("attacks", "detectors", "explainers", "interventions", "test_second_device.py")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *(Path(__file__).parent / it for it in names)]
    run = subprocess.run(command, env={**os.environ, "SECOND_DEVICE": "1"}, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout


def effects(classifier, image, label, device, **options):
    loader = DataLoader(TensorDataset(image.cpu(), label.cpu()), 5)  # whose batches come without sample numbers
    return dv.effects(classifier, loader, dv.PixelGrid(2, 2), device=device, **options)


def attack(classifier, image, label, device):
    result = dv.attack(classifier, (image, label), "pgd", 0.03, target=(label + 1) % 10, device=device)
    return pd.DataFrame(result.images().flatten(1).numpy())


def explain(classifier, image, label, device):
    maps = dv.explain(classifier.to(device), image, {"stored": image[:, 0], "slopes": dv.IntegratedGradients(8)})
    assert classifier.mean.device.type == device
    return maps


class UserModule(pl.LightningModule):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, image):
        return self.network(image)

    def test_step(self, batch, batch_idx): ...


def lightning(classifier, image, label, device):
    loader = DataLoader(TensorDataset(image.cpu(), label.cpu()), 5)
    with tempfile.TemporaryDirectory() as folder:
        effects = dv.EffectEvaluation(dv.PixelGrid(2, 2), folder, dv.FGSM("8/255"))
        trainer = pl.Trainer(accelerator=device, inference_mode=False, callbacks=[effects], logger=False)
        trainer.test(UserModule(classifier.network), loader)
        return pd.read_parquet(Path(folder, "effects.parquet"))


def detect(classifier, image, label, device):
    pair = image.repeat(3, 1, 1, 1), image.flip(3).repeat(3, 1, 1, 1)
    return dv.detect(classifier, pair, ["max_softmax", "effect_profile"], "fgsm", 0.03, device=device)


CALLS = {  # with the synchronisations of a call
    "effects": (lambda *given: effects(*given, attack=dv.FAB("8/255", steps=5)), 52),
    "refuters": (lambda *given: effects(*given, refute=True).refuters, 83),
    "lightning": (lightning, 41),
    "attack": (attack, 48),
    "explain": (explain, 34),
    "detect": (detect, 46),
    "compare": (lambda *given: dv.compare(detect(*given)), 46),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_second_device_gives_the_same_numbers_in_a_call(name, monkeypatch):
    set_up()
    monkeypatch.setattr(pl, "Trainer", sim_trainer)
    tables, (call, most) = [], CALLS[name]
    for device in ("cpu", "sim"):
        classifier, digits = dv.example()
        COUNTS.clear()
        with SecondDevice():
            result = call(classifier, digits.image.to(device), digits.label.to(device), device)
        frame = result if isinstance(result, pd.DataFrame) else result.to_pandas()
        tables.append(torch.tensor(frame.select_dtypes("number").to_numpy(float)))
    torch.testing.assert_close(*tables, rtol=1e-5, atol=1e-5, equal_nan=True)
    assert 0 < COUNTS["synchronisations"] <= most, COUNTS
