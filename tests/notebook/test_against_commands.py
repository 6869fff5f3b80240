"""The notebook API on digits gives the tables of dovision-evaluate, to 1e-6."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import dovision as dv
from dovision.results.average_effect import average_effects
from dovision.results.detection_summary import read_detection
from dovision.results.explanation_metrics import agreements
from dovision.results.run_record import Run, read_sweep
from dovision.results.schemas import read_summary
from dovision.results.tables import read_samples

EPS = [0.1, "16/255"]
EXPLAINERS = ["effect_map", "grad_cam", "random_map"]


@pytest.fixture(scope="module")
def command(fitted, tmp_path_factory, dovision_evaluate) -> Run:
    """A run of the command that attacks, explains and detects, with the network of the other runs."""
    root = tmp_path_factory.mktemp("command")
    shutil.copytree(fitted / "checkpoints", root / "checkpoints")
    attacked = ["attack=pgd", "attack.steps=3", "attack.eps=[0.1,16/255]"]
    explained = [f"explainer=[{','.join(EXPLAINERS)}]", "explanation.cells=8", "explanation.reference=random_map"]
    detected = ["detector=[max_softmax,entropy]", "+attack@detection.attacks.fgsm=fgsm"]
    detected += ["detection.attacks.fgsm.eps=0.1"]
    detected += ["detection.val_images=40", "detection.test_images=20", "detection.reference=entropy"]
    own = [f"output_root={root}"]
    assert (
        dovision_evaluate(*attacked, *explained, *detected, *own, "intervention.rows=4", "intervention.columns=3") == 0
    )
    (run,) = read_sweep(root / "evaluate")
    return run


@pytest.fixture(scope="module")
def digits() -> dv.Images:
    return dv.component("dataset", "digits")


@pytest.fixture(scope="module")
def classifier(command) -> dv.Classifier:
    (path,) = (Path(command.folder).parents[1] / "checkpoints").rglob("*.ckpt")
    return dv.load(str(path))


@pytest.fixture(scope="module")
def measured(classifier, digits) -> dv.MeasuredEffects:
    attack = dv.component("attack", "pgd", {"eps": EPS, "steps": 3})
    data = dv.ImageData(digits, most=12)
    return dv.effects(classifier, data, dv.component("intervention", "pixel_grid", {"rows": 4, "columns": 3}), attack)


@pytest.fixture(scope="module")
def explained(classifier, digits) -> dv.ExplainedImages:
    settings = dv.MapSettings(cells=8, reference="random_map")
    return dv.explain(classifier, dv.ImageData(digits, most=12), EXPLAINERS, settings=settings)


@pytest.fixture(scope="module")
def detected(classifier, digits) -> dv.DetectedAttacks:
    data = (dv.ImageData(digits, split="val", most=40), dv.ImageData(digits, most=20))
    return dv.detect(classifier, data, ["max_softmax", "entropy"], "fgsm", eps=0.1, reference="entropy")


def same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found, expected, check_exact=False, atol=1e-6, rtol=0)


def test_average_effects_and_samples_are_those_of_the_command(measured, command):
    same(measured.to_pandas(), average_effects(command.folder))
    same(measured.samples, read_samples(command.folder))
    assert set(measured.to_pandas()["condition"]) == {"clean", "eps=0.1", "eps=16/255"}


def test_headline_numbers_are_those_of_the_command(measured, command):
    expected = read_summary(command.folder)["conditions"]
    found = json.loads(json.dumps(measured.summary["conditions"]))
    for condition, numbers in expected.items():
        for metric in ("accuracy", "success_rate", "mean_abs_expected_effect"):
            assert found[condition][metric] == pytest.approx(numbers[metric], abs=1e-6)


def test_attacked_images_are_the_attacks_and_their_success_the_commands(classifier, digits, command):
    attack, data = dv.component("attack", "pgd", {"eps": EPS, "steps": 3}), dv.ImageData(digits, most=12)
    found, (clean,) = dv.attack(classifier, data, attack), data.loader(classifier)
    for eps, number in zip(EPS, found.eps, strict=True):
        torch.testing.assert_close(found.images(eps), attack(clean, classifier, number), rtol=0, atol=1e-6)
    table = found.to_pandas().set_index(["condition", "metric"])["estimate"]
    expected = read_summary(command.folder)["conditions"]
    assert table["eps=0.1", "success_rate"] == pytest.approx(expected["eps=0.1"]["success_rate"]["estimate"])
    again = dv.effects(classifier, found.batch(0.1), dv.PixelGrid(1, 1)).samples
    attacked = found.samples.query("condition == 'eps=0.1'")
    assert again["correct"].tolist() == attacked["correct"].tolist()


def test_maps_and_their_metrics_are_those_of_the_command(explained, command):
    found, expected = explained.to_pandas(), agreements(command.folder)
    same(found.drop(columns="stability"), expected.drop(columns="stability"))
    np.testing.assert_allclose(found["stability"], expected["stability"], atol=1e-3)  # ranks, of which last bits decide
    scores = pd.DataFrame(read_summary(command.folder)["maps"])
    rows = [frame.query("metric != 'stability'") for frame in (explained.scores, scores)]
    same(*(frame[["explainer", "metric", "cases", "mean", "low", "high"]] for frame in rows))
    assert explained.maps["grad_cam"].shape == (12, 32, 32)


def test_detection_is_that_of_the_command(detected, command):
    expected = read_detection(command.folder)
    found = detected.to_pandas()
    assert found["detector"].tolist() == expected["detector"].tolist()
    for column in ("auroc", "auroc_low", "auroc_high", "tpr_5", "threshold_5"):
        np.testing.assert_allclose(found[column], expected[column], atol=1e-6)


def test_comparisons_are_paired(measured, explained, detected, classifier, digits):
    other = dv.effects(classifier, dv.ImageData(digits, most=12), dv.PixelGrid(4, 3, dv.Mean()))
    table = dv.compare({"black": measured, "mean": other}).to_pandas().set_index(["result", "condition", "metric"])
    size = "mean_abs_expected_effect"
    both = [each.samples.query("condition == 'clean'")[size].mean() for each in (other, measured)]
    assert table.loc[("mean", "clean", size), "difference"] == pytest.approx(both[0] - both[1], abs=1e-6)
    assert table.loc[("mean", "clean", size), "pairs"] == 12
    maps = dv.compare(explained, "random_map").to_pandas().set_index(["explainer", "metric"])
    assert set(maps.index.get_level_values("metric")) == {"deletion", "insertion", "stability"}  # no box is known
    scores = explained.scores.query("cases == 'all'").set_index(["explainer", "metric"])
    for metric in ("deletion", "insertion", "stability"):
        expected = scores.loc[("grad_cam", metric)]
        assert maps.loc[("grad_cam", metric), "difference"] == pytest.approx(expected["difference"], abs=1e-6)
    assert dv.compare(detected, "entropy").to_pandas()["detector"].unique().tolist() == ["max_softmax"]


def test_results_may_be_named_by_numbers(measured):
    shown = dv.compare({4: measured, 8: measured})
    labels = [axes.get_xlabel().replace("\n", " ") for axes in shown.plot().axes]
    assert "difference from 4" in labels, labels
    assert shown._repr_html_().count("<img") == 1
