from __future__ import annotations

import itertools
import os
import shutil
import signal
from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from dovision.cli.evaluate import main as evaluate
from dovision.cli.train import main as train
from dovision.functional.effects import divergence
from dovision.interfaces import Classifier
from dovision.models import checkpoint
from dovision.models.conv_autoencoder import insert, inserted_autoencoder
from dovision.models.topk_sae import TopkSae
from dovision.store.run_record import read_sweep
from dovision.store.tables import read_effects
from dovision.training.autoencoder_module import SparseAutoencoder, logged_metrics
from dovision.types import Batch, Task

DIGITS = ("dataset=digits", "dataset.test_fraction=0.75", "training.classifier.epochs=1")
DIGITS += ("autoencoder=topk_sae", "autoencoder.after=pool", "autoencoder.channels=64", "autoencoder.expansion=4")
DIGITS += ("training.autoencoder.epochs=2", "training.autoencoder.batch_size=64")
THREE = Task("multiclass", ("a", "b", "c"))


@pytest.fixture
def classifier():
    """With batch-norm and dropout, which a careless training would move."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU(inplace=True),
        torch.nn.Dropout(0.5),
        torch.nn.ReLU(inplace=True),
        torch.nn.Flatten(),
        torch.nn.Linear(4 * 6 * 6, 3),
    )
    classifier = Classifier(network, THREE, [0.5], [0.5])
    for _ in range(5):
        classifier(torch.rand(8, 1, 8, 8))  # gives the batch-norm statistics of its own
    return classifier.eval()


def module_of(classifier, after="2", k=2):
    torch.manual_seed(1)
    autoencoder = TopkSae(after, 4, expansion=4, k=k, dead_after=64)
    with_autoencoder = insert(classifier, autoencoder, (1, 8, 8))
    return SparseAutoencoder(classifier, with_autoencoder, partial(torch.optim.Adam, lr=0.01))


IMAGES = torch.rand(32, 1, 8, 8, generator=torch.Generator().manual_seed(2))


def fit(module, epochs=1, **trainer):
    torch.manual_seed(2)
    zeros = torch.zeros(32, dtype=torch.int64)
    loader = DataLoader(TensorDataset(IMAGES, zeros, zeros, zeros), batch_size=8, collate_fn=stacked)
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, **trainer,
    )  # fmt: skip
    trainer.fit(module, loader, loader)
    return trainer


def stacked(rows):
    return Batch(*(torch.stack(field) for field in zip(*rows, strict=True)))


def test_training_leaves_parameters_and_buffers_of_the_classifier_bit_identical(classifier):
    module = module_of(classifier)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    fit(module)
    moved = {name for name, tensor in module.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved
    assert all(".autoencoder." in name or name.startswith("autoencoder.") for name in moved)


def test_atoms_have_norm_1_after_the_fit(classifier):
    module = module_of(classifier)
    fit(module)
    torch.testing.assert_close(module.autoencoder.decoder.weight.norm(dim=0), torch.ones(16))


def test_training_explains_more_of_the_variance_and_brings_the_answers_back(classifier):
    module = module_of(classifier)
    before, after = (fit(module, epochs).callback_metrics for epochs in (1, 20))
    assert before["val_explained_variance"] < after["val_explained_variance"] <= 1
    assert after["val_kl"] < before["val_kl"]


def test_no_gradient_and_no_more_than_the_layers_before_pass_through_the_classifier(classifier):
    module = module_of(classifier)
    ran = []
    for name in ("0", "6"):
        layer = module.with_autoencoder.network.get_submodule(name)
        layer.register_forward_hook(lambda module, args, output, name=name: ran.append((name, output.requires_grad)))
    zeros = torch.zeros(32, dtype=torch.int64)
    assert module.training_step(Batch(IMAGES, zeros, zeros, zeros), 0).requires_grad
    assert ran == [("0", False)]


def test_the_metrics_are_those_of_all_positions_of_the_validation_images(classifier):
    module = module_of(classifier)
    logged = fit(module).callback_metrics
    hidden = classifier.network[:3]((IMAGES - 0.5) / 0.5)
    code = module.autoencoder.encoder(hidden)
    output = module.autoencoder.decoder(code)
    variance = (hidden - hidden.mean((0, 2, 3), keepdim=True)).square().sum()
    expected = {
        "explained_variance": 1 - (hidden - output).square().sum() / variance,
        "l0": (code > 0).float().sum(1).mean(),
        "dead_share": (code == 0).all(3).all(2).all(0).float().mean(),
        "kl": divergence(classifier(IMAGES), classifier.network[3:](output.clone()), THREE).sum(-1).mean(),
    }
    for name, value in expected.items():
        torch.testing.assert_close(logged[f"val_{name}"], value, msg=name)
    torch.testing.assert_close(module.autoencoder.activity, code.mean((0, 2, 3)))


def test_all_names_that_are_promised_are_logged(classifier):
    module = module_of(classifier)
    logged = fit(module).callback_metrics
    assert set(module.logged) == set(logged_metrics(module.autoencoder)) == set(logged)
    assert module.best_by[0] in module.logged


def test_dropout_and_batch_norm_stay_in_eval_mode_while_the_autoencoder_trains(classifier):
    module = module_of(classifier).train()
    assert module.autoencoder.training
    modes = {name: child.training for name, child in module.with_autoencoder.network.named_modules()}
    assert not any(training for name, training in modes.items() if ".autoencoder" not in name)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, run_command):
    """An output root in which the digits' classifier and its sparse autoencoder are fitted."""
    root = tmp_path_factory.mktemp("undisturbed")
    assert run_command(train, *DIGITS, f"output_root={root}") == 0
    return root


@pytest.mark.long  # test_checkpointing.py stops fits of Lightning's loop, which this one shares
@pytest.mark.slow
def test_a_stopped_fit_goes_on_to_the_bytes_of_an_undisturbed_one(
    undisturbed, tmp_path, run_command, monkeypatch, capsys
):
    plain, steps = SparseAutoencoder.training_step, itertools.count()

    def step(self, batch, batch_idx):
        if next(steps) == 4:  # in the second epoch
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(self, batch, batch_idx)

    (classifier,) = undisturbed.glob("checkpoints/classifier-*")
    shutil.copytree(classifier, tmp_path / "checkpoints" / classifier.name)
    monkeypatch.setattr(SparseAutoencoder, "training_step", step)
    assert run_command(train, *DIGITS, f"output_root={tmp_path}") == 128 + signal.SIGTERM
    assert run_command(train, *DIGITS, f"output_root={tmp_path}") == 0
    assert "resuming after epoch 1 of 2" in capsys.readouterr().err
    found, expected = (
        next(root.glob("checkpoints/autoencoder-*/autoencoder.ckpt")) for root in (tmp_path, undisturbed)
    )
    assert found.read_bytes() == expected.read_bytes()

    facts = checkpoint.read_checkpoint(found)["facts"]
    assert set(facts["scores"]) >= {"val_explained_variance", "val_l0", "val_dead_share", "val_kl"}
    activity = inserted_autoencoder(checkpoint.load(found)).activity
    assert torch.equal(activity, activity.sort(descending=True).values)
    assert activity[0] > 0


@pytest.mark.slow
def test_effects_of_the_most_active_latents_are_measured_with_the_fitted_one(undisturbed, run_command, capsys):
    own = ("intervention=activation", "intervention.unit=latent", "intervention.choose=4", "evaluation.images=4")
    assert run_command(evaluate, *DIGITS, *own, f"output_root={undisturbed}") == 0
    assert capsys.readouterr().err.count("found the fitted autoencoder") == 1
    (run,) = read_sweep(undisturbed / "evaluate")
    latents = [f"z{number}" for number in range(4)]
    effects = read_effects(run.folder, range(4))
    assert list(dict.fromkeys(effects["unit"])) == latents
