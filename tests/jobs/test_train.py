"""dovision-train fits the networks of a configuration, those of an experiment too, and leaves out what is measured."""

import json
from pathlib import Path

import pytest
import torch
import torchvision
from omegaconf import OmegaConf
from PIL import Image

import made_config
from dovision.config import settings
from dovision.config.sources import configuration_folder
from dovision.jobs.hydra_main import train
from dovision.training import model_cache

CONF = configuration_folder()
FEW = tuple(f"dataset.{split}_images={number}" for split, number in (("train", 64), ("val", 16), ("test", 8)))
FEW += ("dataset.shape=[1,64,64]", "model=small_resnet", "model.width=4")
SMALL = ("dataset=digits", "training.classifier.epochs=0")


def composed(command: str, *overrides: str):
    config = made_config.composed(*overrides, command=command)
    if OmegaConf.is_missing(config.dataset, "root"):
        config.dataset.root = "."
    return settings.read(command, config)


def fitted(root: Path) -> list[Path]:
    return sorted(root.glob("checkpoints/*/classifier.ckpt"))


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "experiment").glob("*.yaml")))
def test_every_experiment_is_fitted_as_it_is_measured(name, tmp_path):
    words = [f"experiment={name}"]
    if name == "few_films":  # whose classes are those of the folder
        for number, folder in enumerate(("a", "b")):
            (tmp_path / folder).mkdir()
            Image.new("L", (8, 8), number).save(tmp_path / folder / "1.png")
        words.append(f"dataset.root={tmp_path}")
    own, measured = composed("train", *words), composed("evaluate", *words)
    for section in ("dataset", "model", "training", "trainer", "seed", "checkpoint"):
        assert settings.to_dict(getattr(own, section)) == settings.to_dict(getattr(measured, section)), section


@pytest.mark.parametrize("experiment", [[], ["experiment=demo"]], ids=["none", "demo"])
@pytest.mark.parametrize("override", ["attack=pgd", "explainer=[grad_cam]", "fill@explanation.fill=blur"])
def test_what_is_measured_cannot_be_set_beside_an_experiment(tmp_path, run_command, capsys, experiment, override):
    assert run_command(train, *experiment, override, f"output_root={tmp_path}") == 1
    group = override.partition("=")[0].partition("@")[0]
    expected = f"dovision-train: {group} is not a key of dovision-train. Set it in dovision-evaluate.\n"
    assert capsys.readouterr().err == expected
    assert list(tmp_path.iterdir()) == []


def test_a_fitted_model_is_fitted_again_where_that_is_asked_for(tmp_path, run_command, capsys):
    root = f"output_root={tmp_path}"
    for rerun, expected in (("null", "fitting"), ("null", "found the fitted"), ("all", "fitting")):
        assert run_command(train, *SMALL, root, f"rerun={rerun}") == 0
        assert f"{expected} classifier" in capsys.readouterr().err.replace("fitting the", "fitting")
    assert len(fitted(tmp_path)) == 1


@pytest.mark.parametrize(
    ("words", "epochs"),
    [(["trainer.fast_dev_run=true"], 1), (["trainer.limit_train_batches=3", "training.classifier.epochs=3"], 3)],
)
def test_a_debug_configuration_runs_each_time_and_one_of_a_few_batches_is_no_result(
    words, epochs, tmp_path, run_command, capsys
):
    for _ in range(2):
        words = [*FEW, "debug=default", "trainer.profiler=simple", *words, f"output_root={tmp_path}"]
        assert run_command(train, *words) == 0
        err = capsys.readouterr().err
        assert "fitting the classifier" in err
        assert "trial fit, not a result" in err
        assert "FIT Profiler Report" in err
    (path,) = fitted(tmp_path)
    assert len((path.parent / "epochs.csv").read_text().splitlines()) == 1 + epochs
    assert json.loads((path.parent / "key.json").read_text())["trainer"]["detect_anomaly"] is True


TINY = ("dataset=digits", "dataset.test_fraction=0.75", "model=small_resnet", "model.width=4")


def test_the_file_of_an_epoch_holds_the_settings_in_plain_values(tmp_path, run_command, monkeypatch):
    more = ("scheduler@training.classifier.scheduler=plateau", "training.classifier.loss.label_smoothing=0.1", "seed=7")
    monkeypatch.setattr(model_cache, "EPOCH_FILE", "nothing")  # which is removed after the fit
    words = (*TINY, *more, "training.classifier.epochs=1", "training.classifier.warmup_steps=2")
    assert run_command(train, *words, f"output_root={tmp_path}") == 0
    (path,) = fitted(tmp_path)
    own = torch.load(path.with_name("epoch.ckpt"), weights_only=True)["hyper_parameters"]
    assert (own["warmup_steps"], own["frozen_epochs"], own["seed"]) == (2, 0, 7)
    section = composed("train", *TINY, *more, "training.classifier.epochs=1", "training.classifier.warmup_steps=2")
    assert own["training"] == settings.to_dict(section.training.classifier, record=True)
    assert (own["training"]["optimizer"]["_target_"], own["training"]["epochs"]) == ("torch.optim.Adamax", 1)
    assert own["training"]["loss"]["label_smoothing"] == 0.1
    assert own["training"]["scheduler"]["monitor"] == "val_loss"


def test_a_fit_of_a_sweep_that_fails_is_no_run(tmp_path, run_command, monkeypatch):
    monkeypatch.setattr("dovision.training.image_classifier.ImageClassifier.training_step", lambda *_: 1 / 0)
    words = ("training.classifier.epochs=1", "seed=0,1", f"output_root={tmp_path}", "-m")
    with pytest.raises(ZeroDivisionError):
        run_command(train, "dataset=digits", *words)
    assert not list(tmp_path.rglob("run.json"))


def test_a_linear_probe_changes_the_last_layer_and_nothing_else(tmp_path, run_command):
    torch.manual_seed(0)
    network = torchvision.models.resnet18(num_classes=10)
    network.conv1 = torch.nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    torch.save(network.state_dict(), tmp_path / "own.pth")
    found = []
    for epochs in (0, 1):
        chosen = ("training=linear_probe", f"training.classifier.epochs={epochs}", "trainer.limit_train_batches=3")
        chosen += ("model=torchvision_model", f"model.weights={tmp_path / 'own.pth'}")
        assert run_command(train, "dataset=digits", *chosen, f"output_root={tmp_path / str(epochs)}") == 0
        (path,) = fitted(tmp_path / str(epochs))
        found.append(torch.load(path, weights_only=True)["state"])
    before, after = found
    changed = [name for name, value in before.items() if not torch.equal(value, after[name])]
    assert changed == [name for name in before if name.startswith(list(before)[-1].rpartition(".")[0])]
    assert 0 < len(changed) < len(before)
