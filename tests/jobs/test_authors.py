"""The experiments that repeat the authors' notebooks, on small data: what is fitted, measured, printed and kept."""

import gzip
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hydra.utils import instantiate

from dovision.config.sources import configuration_folder
from dovision.jobs.hydra_main import evaluate as main
from dovision.models import checkpoint
from dovision.report import page
from dovision.results.run_record import read_sweep
from dovision.results.tables import read_effects, read_samples
from made_config import composed
from made_datasets import idx

PAPER = ("--config-dir", str(configuration_folder().parent / "paper" / "conf"))


def write_digits(root, **digits):
    """Write images and labels of both parts as MNIST's four files."""
    (root / "MNIST" / "raw").mkdir(parents=True)
    for stem, arrays in digits.items():
        for kind, array in zip(("images-idx3", "labels-idx1"), arrays, strict=True):
            (root / "MNIST" / "raw" / f"{stem}-{kind}-ubyte.gz").write_bytes(gzip.compress(idx(array), 1))
    return root


def read_digits(folder, stem):
    """Images and labels of a part."""
    parts = []
    for kind, header, shape in (("images-idx3", 16, (-1, 28, 28)), ("labels-idx1", 8, (-1,))):
        with gzip.open(folder / "MNIST" / "raw" / f"{stem}-{kind}-ubyte.gz") as file:
            parts.append(np.frombuffer(file.read()[header:], np.uint8).reshape(shape))
    return parts


@pytest.fixture(scope="module")
def mnist_root(tmp_path_factory):
    """40 + 6 drawn digits in MNIST's four files."""
    random, digits = np.random.default_rng(0), {}
    for stem, count in (("train", 40), ("t10k", 6)):
        label = np.arange(count, dtype=np.uint8) % 10
        image = random.integers(0, 128, (count, 28, 28), dtype=np.uint8)
        image[np.arange(count), 2 * label + 4] = 255
        digits[stem] = (image, label)
    return write_digits(tmp_path_factory.mktemp("mnist"), **digits)


@pytest.fixture(scope="module")
def run(mnist_root, run_command, tmp_path_factory):
    """experiment=authors_mnist with one epoch each."""
    outputs = tmp_path_factory.mktemp("outputs")
    few = ("dataset.val_images=8", "training.classifier.epochs=1", "training.autoencoder.epochs=1")
    where = (f"dataset.root={mnist_root}", "dataset.source.download=false", f"output_root={outputs}")
    assert run_command(main, "experiment=authors_mnist", *few, *where) == 0
    return read_sweep(outputs / "authors_mnist")[0]


def notebook_formulas(run, image):
    """P without the autoencoder (N, 10), expected effects on logits (N,), and KLDivLoss, of do(channel 5 = 0)."""
    plain, measured = (
        checkpoint.load(next(file for file in run.record["checkpoint_files"].values() if kind in file))
        for kind in ("classifier.ckpt", "autoencoder.ckpt")
    )
    encoder = measured.network.get_submodule("relu1.autoencoder.encoder")
    with torch.no_grad():
        control = plain(image)
        encoder.register_forward_hook(lambda module, args, code: code * (torch.arange(16) != 5).view(1, 16, 1, 1))
        treated = measured(image)
    probability = control.softmax(-1)
    divergence = torch.nn.KLDivLoss(reduction="mean")(treated.log_softmax(-1), probability)
    return probability, (probability * (treated - control)).sum(-1), divergence


def test_the_settings_of_authors_mnist_are_those_of_the_notebook():
    config = composed("experiment=authors_mnist")
    assert (config.model.mean, config.model.std) == ([0.1307], [0.3081])
    weights = list(torch.nn.Linear(1, 1).parameters())
    fits = config.training.classifier, config.training.autoencoder
    optimizers = [instantiate(fit.optimizer)(weights) for fit in fits]
    assert [type(one).__name__ for one in optimizers] == ["Adamax", "Adam"]
    assert [one.defaults["lr"] for one in optimizers] == [1e-3, 1e-4]
    assert [(fit.epochs, fit.batch_size) for fit in fits] == [(10, 16), (10, 1)]
    layers = [layer for layer in instantiate(config.autoencoder).modules() if not list(layer.children())]
    assert [(layer.in_channels, layer.out_channels) for layer in layers] == [(32, 16), (16, 64), (64, 32)]
    assert {layer.kernel_size for layer in layers} == {(1, 1)}


@pytest.mark.usefixtures("few_images")
def test_authors_mnist_measures_one_channel_against_the_classifier_without_the_autoencoder(run):
    digits, _ = read_digits(Path(run.config["dataset"]["root"]), "t10k")
    image = torch.tensor(digits[:, None] / 255).float()
    control, effect, divergence = notebook_formulas(run, image)
    rows = read_effects(run.folder, range(6)).merge(read_samples(run.folder)[["sample", "name"]], on="sample")
    assert set(rows["unit"]) == {"c5"}
    first = rows[rows["name"] == "test-0"]
    assert first["expected_logit_effect"].tolist() == pytest.approx([effect[0].item()] * 10, abs=1e-5)
    assert rows["divergence"].mean() == pytest.approx(divergence.item(), abs=1e-6)
    mean = run.summary["conditions"]["clean"]["mean_expected_logit_effect"]["estimate"]
    assert mean == pytest.approx(effect.mean().item(), abs=1e-5)
    right = (control.argmax(-1) == torch.arange(6)).float().mean().item()
    assert read_samples(run.folder)["correct"].mean() == pytest.approx(right)
    assert page.render_page("authors_mnist", [run], pd.DataFrame(), [], []).count("accuracy .9924") == 1


@pytest.mark.long
@pytest.mark.real
def test_the_notebook_within_a_fixed_budget_has_its_formulas_on_real_digits(real_data, run_command, tmp_path):
    counts = {"train": 6500, "t10k": 300}  # a tenth of the training files: 375 steps of each fit
    digits = {stem: [part[:count] for part in read_digits(real_data / "mnist", stem)] for stem, count in counts.items()}
    root = write_digits(tmp_path / "mnist", **digits)
    where = (f"dataset.root={root}", "dataset.val_images=500", "dataset.source.download=false")
    command = (*where, f"output_root={tmp_path}", "evaluation.images=300")
    assert run_command(main, *PAPER, "experiment=authors_mnist_small", *command) == 0
    (run,) = read_sweep(tmp_path / "authors_mnist_small")
    samples = read_samples(run.folder).set_index("sample")
    numbers = [int(name.removeprefix("test-")) for name in samples["name"]]
    image = torch.tensor(digits["t10k"][0][numbers][:, None] / 255).float()
    control, effect, divergence = notebook_formulas(run, image)
    rows = read_effects(run.folder, samples.index)
    measured = rows.drop_duplicates("sample").set_index("sample").loc[samples.index, "expected_logit_effect"]
    np.testing.assert_allclose(measured, effect, rtol=0, atol=1e-5)
    right = (control.argmax(-1).numpy() == samples["label"]).mean()
    assert samples["correct"].mean() == right > 0.9  # authors: .9924 of ten epochs of all digits
    assert rows["divergence"].mean() == pytest.approx(divergence.item(), rel=1e-4)
    assert rows["divergence"].mean() < 2e-2  # authors: 2.5e-4 after an epoch of single digits, 1.0e-4 after ten


def test_authors_chest_runs_on_made_films_and_its_page_says_that_nothing_was_shown(nih_root, run_command, tmp_path):
    from torchvision.models import densenet121

    torch.manual_seed(0)
    state = densenet121(weights=None, num_classes=14).state_dict()
    state = {f"module.densenet121.{name}": value for name, value in state.items()}
    state = {re.sub(r"classifier\.(weight|bias)$", r"classifier.0.\1", name): value for name, value in state.items()}
    torch.save({"state_dict": state}, tmp_path / "weights.pth.tar")
    cut = ("dataset.split=patients", "dataset.val_fraction=0.25", "dataset.test_fraction=0.25")
    where = (f"dataset.root={nih_root}", "dataset.shape=[1,64,64]", f"output_root={tmp_path}", *cut)
    as_coded = "training.autoencoder.loss._target_=paper.loss_as_coded.AutoencoderLossAsCoded"
    command = ("experiment=authors_chest", *where, f"model.checkpoint_file={tmp_path / 'weights.pth.tar'}", as_coded)
    assert run_command(main, *PAPER, *command) == 0
    (run,) = read_sweep(tmp_path / "authors_chest")
    rows = read_effects(run.folder, range(4))
    assert set(rows["unit"]) == {"c5"}
    assert rows["expected_logit_effect"].abs().gt(0).all()
    scores = next(value for name, value in run.record["scores"].items() if "autoencoder" in name)
    assert scores["val_loss"] == pytest.approx(8 * scores["val_interpretability"] + 2 * scores["val_shallow"], rel=1e-4)
    text = page.render_page("authors_chest", [run], pd.DataFrame(), [], [])
    assert text.count("Nothing has been shown on ChestX-ray14 with this experiment") == 1
