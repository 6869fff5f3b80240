"""Effects on the share of a class in a segmentation: the models' yaml take a function that reads the output."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

import dovision as dv
from dovision.jobs.hydra_main import evaluate as main
from dovision.models.checkpoint import save_checkpoint
from dovision.report.report_figure import setup_sentence
from dovision.results.run_record import read_sweep
from dovision.results.tables import EFFECTS
from dovision.results.thumbnails import save_image

OUTPUT = {"_target_": "dovision.functional.outputs.ClassShare", "classes": [1, 2], "region": [0, 0, 8, 16]}


class Maps(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(1, 3, 1)

    def forward(self, image):
        return {"out": self.convolution(image)}


def segmenter(shape, task, classes, mean, std, output):
    return dv.Classifier(Maps(), dv.Task(task, tuple(classes)), mean, std, output)


ARGUMENTS = {"shape": [1, 16, 16], "task": "multilabel", "classes": ["cat", "dog"], "mean": [0.5], "std": [0.25]}


@pytest.fixture
def folder(tmp_path) -> Path:
    """A picture, and a checkpoint of a segmentation network of the user's own."""
    torch.manual_seed(0)
    settings = {"_target_": f"{__name__}.segmenter", **ARGUMENTS, "output": OUTPUT}
    made = segmenter(**ARGUMENTS, output=dv.ClassShare([1, 2], [0, 0, 8, 16]))
    save_checkpoint(tmp_path / "segmenter.ckpt", made, settings, None, {})
    (tmp_path / "photos").mkdir()
    save_image(tmp_path / "photos" / "photo.png", torch.rand(1, 16, 16))
    return tmp_path


def evaluate(run_command, folder: Path, *more: str) -> int:
    data = (f"dataset.root={folder / 'photos'}", "dataset.shape=[1,16,16]")
    grid = ("intervention.rows=2", "intervention.columns=1")
    there = (f"checkpoint={folder / 'segmenter.ckpt'}", f"output_root={folder}")
    return run_command(main, "dataset=image_folder", *data, *there, *grid, *more)


def test_an_effect_is_the_change_of_the_share_of_a_class_in_the_region(folder, run_command):
    assert evaluate(run_command, folder, "trust_checkpoint=true") == 0
    assert "network: segmenter, weights of segmenter.ckpt;" in setup_sentence(read_sweep(folder))
    (file,) = folder.rglob(EFFECTS.path)
    effects = pd.read_parquet(file).set_index(["unit", "class"])
    assert effects.loc["r1c0", "effect"].tolist() == [0, 0]  # painted beside the region
    assert (effects.loc["r0c0", "effect"].abs() > 1e-4).all()
    assert effects["control"].between(0, 1).all()


def test_code_that_a_checkpoint_names_runs_for_those_who_trust_it_alone(folder, run_command, capsys):
    assert evaluate(run_command, folder) == 1
    assert "trust_checkpoint=true" in capsys.readouterr().err
