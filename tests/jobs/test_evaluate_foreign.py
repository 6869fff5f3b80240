"""dovision-evaluate checkpoint=FILE, of another program: the configured model with these weights, and no fit."""

import json
import re
from contextlib import nullcontext
from hashlib import sha256
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
import torchvision
from torch import nn

import dovision
from dovision.config.component import Component
from dovision.jobs.hydra_main import evaluate as main
from dovision.report.report_figure import setup_sentence
from dovision.results.run_record import read_sweep
from dovision.training import foreign
from dovision.training.foreign import check_order, matched, unread

MODEL = ("dataset=digits", "model=torchvision_model", "model.name=resnet18", "model.mean=[0.4]", "model.std=[0.2]")
FEW = ("evaluation.images=6", "intervention.rows=1", "intervention.columns=2")


def resnet(seed: int, classes: int = 10) -> nn.Module:
    torch.manual_seed(seed)
    network = torchvision.models.resnet18(num_classes=classes)
    network.conv1 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    return network.eval()


@pytest.fixture(scope="module")
def measured(tmp_path_factory, run_command) -> tuple[Path, list[str]]:
    """An output root with a run of weights that DataParallel has wrapped, and its command."""
    root = tmp_path_factory.mktemp("foreign")
    torch.save({"state_dict": nn.DataParallel(resnet(0)).state_dict(), "epoch": 9}, root / "own.pt")
    command = [*MODEL, *FEW, f"checkpoint={root / 'own.pt'}", f"output_root={root / 'out'}"]
    assert run_command(main, *command) == 0
    return root, command


def run_of(root: Path):
    (run,) = read_sweep(root / "out" / "evaluate")
    return run


def test_the_tables_are_those_of_the_network_called_directly_and_the_run_names_its_file(measured):
    root, _ = measured
    images = dovision.component("dataset", "digits")
    batch = images.split("test").batch(range(6))
    with torch.no_grad():
        expected = resnet(0)((batch.image - 0.4) / 0.2).softmax(1)
    table = pq.read_table(run_of(root).folder / "samples.parquet").to_pandas().sort_values("sample")
    assert "network: torchvision model (name resnet18), weights of own.pt;" in setup_sentence([run_of(root)])
    probability, prediction = expected.max(1)
    assert table["prediction"].tolist() == prediction.tolist()
    torch.testing.assert_close(torch.tensor(table["probability"].tolist()), probability, atol=1e-5, rtol=1e-4)
    record = run_of(root).record
    assert record["foreign_weights"] == {"checkpoint": sha256((root / "own.pt").read_bytes()).hexdigest()}
    log = (run_of(root).folder / "run.log").read_text()
    assert "own.pt: took its entry state_dict; took off the prefix module.; kept the head, its 10 classes" in log
    (key,) = (root / "out").glob("checkpoints/classifier-*/key.json")
    assert json.loads(key.read_text())["foreign_weights"] == record["foreign_weights"]


def test_weights_that_change_while_they_are_read_are_not_kept_under_the_name_of_the_old_ones(
    measured, run_command, monkeypatch, capsys
):
    def exchanged(file: Path, *others):
        torch.save(resnet(2).state_dict(), file)
        return matched(file, *others)

    root, command = measured
    torch.save(resnet(1).state_dict(), root / "later.pt")
    monkeypatch.setattr(foreign, "matched", exchanged)
    assert run_command(main, *command[:-2], f"checkpoint={root / 'later.pt'}", f"output_root={root / 'later'}") == 1
    assert "later.pt must stay as it is while it is read" in capsys.readouterr().err
    assert not list(root.glob("later/checkpoints/*/*.ckpt"))


def test_a_result_is_not_taken_for_that_of_other_weights_or_names(measured, run_command, capsys):
    root, command = measured
    assert run_command(main, *command) == 0
    assert "already completed" in capsys.readouterr().err
    before = run_of(root)
    torch.save(resnet(1).state_dict(), root / "own.pt")
    assert run_command(main, *command) == 0
    printed = capsys.readouterr().err
    assert "taking the given weights for the classifier" in printed
    assert not {word for word in ("fitting", "fitted", "nearest", "only -") if word in printed}
    (other,) = (run for run in read_sweep(before.folder.parent) if run.folder != before.folder)
    assert other.record["checkpoints"] != before.record["checkpoints"]


@pytest.mark.parametrize(
    ("network", "more", "message"),
    [
        (resnet(0, classes=9), [], "checkpoint .*own.pt must have the shapes of the model's tensors.*fc.weight"),
        (resnet(0), ["model.new_head=true"], "model.new_head=true draws a head, but checkpoint=FILE brings its own"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_start(tmp_path, run_command, capsys, network, more, message):
    torch.save(network.state_dict(), tmp_path / "own.pt")
    command = (*MODEL, *FEW, f"checkpoint={tmp_path / 'own.pt'}", f"output_root={tmp_path / 'out'}", *more)
    assert run_command(main, *command) == 1
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_classes_and_normalisation_of_named_weights_come_without_a_download(tmp_path, run_command, capsys):
    network = torchvision.models.squeezenet1_1().eval()
    torch.save(network.state_dict(), tmp_path / "own.pt")
    photo = tmp_path / "photos"
    photo.mkdir()
    torchvision.utils.save_image(torch.rand(3, 64, 64), photo / "a.png")
    named = ("model=torchvision_model", "model.name=squeezenet1_1", "model.weights=DEFAULT", "dataset.shape=[3,64,64]")
    command = ("dataset=image_folder", f"dataset.root={photo}", *named, f"checkpoint={tmp_path / 'own.pt'}")
    assert run_command(main, *command, f"output_root={tmp_path / 'out'}", *FEW[1:]) == 0
    assert "its 1,000 classes in the order tench" in capsys.readouterr().err


@pytest.fixture
def ten_categories(monkeypatch) -> list[str]:
    """Names of torchvision's weights of resnet18 that are those of digits, from 9 down to 0."""
    names = [str(number) for number in reversed(range(10))]
    monkeypatch.setitem(torchvision.models.ResNet18_Weights.DEFAULT.meta, "categories", names)
    return names


def test_a_head_of_which_the_order_is_not_known_is_refused(tmp_path, run_command, capsys, ten_categories):
    torch.save(resnet(0).state_dict(), tmp_path / "own.pt")
    command = (*MODEL, *FEW, f"checkpoint={tmp_path / 'own.pt'}", f"output_root={tmp_path / 'out'}")
    assert run_command(main, *command, "model.weights=DEFAULT") == 1
    said = r"dataset.classes must be in the order of model.weights, .*'0' where these weights have '9'.*weights=null"
    assert re.search(said, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("classes", "refused"), [(["9", "0"], False), (["0", "9"], True), (None, False), (["0", "1", "2"], True)]
)
def test_classes_of_the_weights_keep_their_order_all_or_some(ten_categories, classes, refused):
    settings = {"_target_": "dovision.models.torchvision_model.torchvision_model", "name": "resnet18", "output": None}
    settings |= {"weights": "DEFAULT", "shape": [3, 32, 32], "task": classes and "multiclass", "classes": classes}
    model = Component("model", {**settings, "mean": None, "std": None})
    with pytest.raises(ValueError, match="must be in the order") if refused else nullcontext():
        check_order(model, unread(model))
