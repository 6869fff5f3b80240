import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

from dovision.interfaces import Classifier
from dovision.io import sealed
from dovision.jobs.hydra_main import train
from dovision.models import checkpoint
from dovision.results.run_record import read_sweep
from dovision.training import model_cache
from dovision.types import Task
from made_config import read


def test_a_checkpoint_of_a_thousand_other_classes_is_refused_in_a_few_lines():
    names = tuple(f"class {number}" for number in range(1000))
    classifier = Classifier(torch.nn.Linear(4, 1000), Task("multiclass", names), (0.0,), (1.0,))
    fitted = model_cache.FittedModel(classifier, Path("x.ckpt"), "", {}, {"shape": [1, 2, 2]}, {})
    with pytest.raises(ValueError, match=r"2 classes \(multiclass: no, yes\), got 1000 .* and 976 more\)") as refused:
        model_cache.check_fits(fitted, Task("multiclass", ("no", "yes")), (1, 2, 2))
    assert len(str(refused.value)) < 500


def test_the_best_epochs_scores_are_kept_with_the_weights(fitted):
    (path,) = (fitted / "checkpoints").glob("classifier-*/classifier.ckpt")
    facts = checkpoint.read_checkpoint(path)["facts"]
    assert facts["scores"]["epoch"] == 1
    assert facts["scores"]["val_score"] > 0.5
    (run,) = read_sweep(fitted / "evaluate")
    assert run.record["scores"]["classifier"] == facts["scores"]
    assert json.dumps(facts)


def test_the_thresholds_of_a_multilabel_classifier_are_kept_with_it(tmp_path, dovision_evaluate):
    films = ("dataset=phantom", "dataset.task=multilabel", "dataset.label=kinds", "dataset.classes=[nodule,opacity]")
    few = ("dataset.train_images=64", "dataset.val_images=64", "dataset.test_images=12")
    assert dovision_evaluate(f"output_root={tmp_path}", *films, *few) == 0
    (path,) = (tmp_path / "checkpoints").glob("classifier-*/classifier.ckpt")
    facts = checkpoint.read_checkpoint(path)["facts"]
    assert checkpoint.load(path).task.thresholds == tuple(facts["thresholds"])
    assert len(set(facts["thresholds"]) - {0.5}) == 2
    assert {"val_auroc/nodule", "val_auroc/opacity"} <= facts["scores"].keys()


TINY = """
from torch import nn
from dovision.interfaces import Classifier
from dovision.types import Task

def tiny(shape, task, classes, name, stem):
    assert name == "hunter2" and isinstance(stem, nn.Module)
    network = nn.Sequential(stem, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(8 * 16, len(classes)))
    return Classifier(network, Task(task, tuple(classes)), [0.5], [0.5])
"""
OWN = """
_target_: tiny_of_a_user.tiny
shape: ${dataset.shape}
task: ${dataset.task}
classes: ${dataset.classes}
name: ${oc.env:TINY_NAME}
stem: {_target_: torch.nn.Conv2d, in_channels: 1, out_channels: 8, kernel_size: 3}
"""


QUICK = ("dataset=digits", "training.classifier.epochs=0")


def test_a_model_of_the_users_own_is_found_again_without_trust(tmp_path, run_command, monkeypatch, capsys):
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "tiny.yaml").write_text(OWN)
    (tmp_path / "tiny_of_a_user.py").write_text(TINY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("TINY_NAME", "hunter2")
    own = ("--config-dir", str(tmp_path / "conf"), *QUICK, f"output_root={tmp_path / 'out'}")
    for _ in range(2):
        assert run_command(train, *own, "model=tiny") == 0
    assert capsys.readouterr().err.count("fitting the classifier") == 1
    (path,) = (tmp_path / "out" / "checkpoints").glob("classifier-*/classifier.ckpt")
    assert b"hunter2" not in path.read_bytes()
    with pytest.raises(ValueError, match=r"names tiny_of_a_user\.tiny, which is not one of dovision's models"):
        checkpoint.load(path)
    assert run_command(train, *own, "model=tiny", f"checkpoint={path}") == 0  # it names what the command names
    assert run_command(train, *own, f"checkpoint={path}") == 1
    assert "names tiny_of_a_user.tiny" in capsys.readouterr().err
    sys.modules.pop("tiny_of_a_user", None)


@pytest.fixture
def cached(tmp_path, run_command):
    """The file of a classifier that a command has fitted."""
    assert run_command(train, *QUICK, f"output_root={tmp_path}") == 0
    (path,) = (tmp_path / "checkpoints").glob("classifier-*/classifier.ckpt")
    return path


@pytest.mark.parametrize("target", ["payload.run", "dovision.models.checkpoint.load"])
def test_a_file_planted_among_the_fitted_models_runs_nothing_and_is_fitted_again(
    cached, tmp_path, run_command, monkeypatch, capsys, target
):
    whole = cached.read_bytes()
    (tmp_path / "payload.py").write_text(f"open({str(tmp_path / 'made')!r}, 'w').close()\ndef run(**_): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    inner = {"model": {"_target_": "payload.run"}, "autoencoder": None, "facts": {}, "state": {}}
    sealed.write_sealed(tmp_path / "inner.ckpt", inner)
    arguments = {"path": str(tmp_path / "inner.ckpt"), "trust_checkpoint": True}
    sealed.write_sealed(cached, {**inner, "model": {"_target_": target, **arguments}})
    assert run_command(train, *QUICK, f"output_root={tmp_path}", "trust_checkpoint=true") == 0
    assert not (tmp_path / "made").exists()
    assert "is refitted: it names another model" in capsys.readouterr().err
    assert cached.read_bytes() == whole


def test_a_damaged_file_among_the_fitted_models_is_fitted_again(cached, tmp_path, run_command, capsys):
    whole = cached.read_bytes()
    cached.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
    assert run_command(train, *QUICK, f"output_root={tmp_path}") == 0
    assert "classifier.ckpt is damaged: its bytes are not those" in capsys.readouterr().err
    assert cached.read_bytes() == whole


def test_a_network_is_made_without_a_random_number_of_the_jobs(fitted):
    (path,) = (fitted / "checkpoints").glob("classifier-*/classifier.ckpt")
    job = read("dataset=digits", f"output_root={fitted}")
    before = torch.get_rng_state()
    model_cache.read_model(path, job)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_checkpoint_that_is_replaced_while_it_is_read_is_not_taken_for_the_other(fitted, tmp_path, monkeypatch):
    def replaced(path: Path) -> dict[str, object]:
        content = reader(path)
        shutil.copy(path, tmp_path / "other.ckpt")
        (tmp_path / "other.ckpt").replace(path)
        return content

    (found,) = (fitted / "checkpoints").glob("classifier-*/classifier.ckpt")
    path = shutil.copy(found, tmp_path / "given.ckpt")
    job = read("dataset=digits", f"checkpoint={path}")
    reader = checkpoint.read_checkpoint
    monkeypatch.setattr(checkpoint, "read_checkpoint", replaced)
    with pytest.raises(ValueError, match=r"given\.ckpt must stay as it is while it is read"):
        model_cache.read_model(Path(path), job)
