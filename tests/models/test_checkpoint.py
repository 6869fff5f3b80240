import os
from pathlib import Path

import pytest
import torch

import dovision
from dovision.io import sealed
from dovision.models import checkpoint
from dovision.models.conv_autoencoder import insert

MODEL = {"_target_": "dovision.models.small_cnn.small_cnn", "shape": [1, 28, 28], "task": "multiclass"}
MODEL |= {"classes": ["zero", "one", "two"], "mean": [0.5], "std": [0.5]}
AUTOENCODER = {"_target_": "dovision.models.conv_autoencoder.ConvAutoencoder", "after": "relu1"}
AUTOENCODER |= {"channels": [32, 16, 64, 32], "code": 1, "kernel_size": 1}


def arguments(settings):
    return {name: value for name, value in settings.items() if name != "_target_"}


@pytest.fixture
def classifier():
    torch.manual_seed(0)
    return dovision.small_cnn(**arguments(MODEL)).eval()


@pytest.fixture
def path(tmp_path, classifier):
    checkpoint.save_checkpoint(tmp_path / "new" / "classifier.ckpt", classifier, MODEL, None, {"seed": 3})
    return tmp_path / "new" / "classifier.ckpt"


def test_an_inserted_autoencoder_comes_back_with_its_code(tmp_path, classifier):
    with_autoencoder = insert(classifier, dovision.ConvAutoencoder(**arguments(AUTOENCODER)), (1, 28, 28)).eval()
    checkpoint.save_checkpoint(tmp_path / "a.ckpt", with_autoencoder, MODEL, AUTOENCODER, {})
    loaded = dovision.load(tmp_path / "a.ckpt")
    image = torch.rand(2, 1, 28, 28)
    assert torch.equal(loaded(image), with_autoencoder(image))
    assert loaded.sites == {dovision.CODE: "relu1.autoencoder.encoder"}


def test_pretrained_weights_are_not_asked_for_again(tmp_path):
    model = {**MODEL, "_target_": "dovision.models.torchvision_model.torchvision_model", "name": "resnet18"}
    model = {**model, "weights": None, "shape": [3, 32, 32]}
    from dovision.models.torchvision_model import torchvision_model

    saved = torchvision_model(**arguments(model))
    checkpoint.save_checkpoint(tmp_path / "a.ckpt", saved, {**model, "weights": "a name that does not exist"}, None, {})
    assert torch.equal(dovision.load(tmp_path / "a.ckpt").network.conv1.weight, saved.network.conv1.weight)


def test_thresholds_come_back_with_the_classifier(tmp_path, classifier):
    classifier.task = dovision.Task("multilabel", ("zero", "one", "two"), (0.25, 0.5, 0.125))
    checkpoint.save_checkpoint(tmp_path / "a.ckpt", classifier, {**MODEL, "task": "multilabel"}, None, {"seed": 3})
    assert dovision.load(tmp_path / "a.ckpt").task.thresholds == (0.25, 0.5, 0.125)
    assert checkpoint.read_checkpoint(tmp_path / "a.ckpt")["facts"] == {"seed": 3, "thresholds": [0.25, 0.5, 0.125]}


class Malice:
    def __reduce__(self):
        return os.mkdir, ("run-by-a-checkpoint",)


def test_a_pickle_with_code_in_it_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sealed.write_sealed(Path("evil.ckpt"), {"format": 2, "state": Malice()})
    with pytest.raises(ValueError, match=r"evil.ckpt must hold tensors and plain types only.*mkdir.*not opened"):
        dovision.load("evil.ckpt")
    assert not (tmp_path / "run-by-a-checkpoint").exists()


@pytest.mark.parametrize("content", [{"weight": torch.zeros(1)}, {"format": 1, "model": MODEL, "state": {}}])
def test_another_kind_of_checkpoint_and_an_older_format_are_refused_with_the_remedy(tmp_path, content):
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match=r"a.ckpt must end with dovision's digest.*an older version.*Fit it again"):
        dovision.load(tmp_path / "a.ckpt")


@pytest.mark.parametrize(
    "change",
    [
        {"width": 3},
        {"shape": "abc"},
        {"shape": None},
        {"classes": 5},
        {"classes": ["a", "b"]},  # of other weights
        {"std": [0.0]},
    ],
)
def test_settings_that_do_not_fit_are_one_sentence(tmp_path, classifier, change):
    checkpoint.save_checkpoint(tmp_path / "a.ckpt", classifier, MODEL | change, None, {})
    with pytest.raises(ValueError, match="a.ckpt cannot be rebuilt: ") as caught:
        dovision.load(tmp_path / "a.ckpt")
    assert "\n" not in str(caught.value)


def test_what_is_not_plain_is_refused_before_anything_is_written(tmp_path, classifier):
    with pytest.raises(ValueError, match=r"facts.path must be made of plain types, got PosixPath"):
        checkpoint.save_checkpoint(tmp_path / "a.ckpt", classifier, MODEL, None, {"path": tmp_path})
    assert not list(tmp_path.iterdir())
