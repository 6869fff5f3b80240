"""Detection through the command: fitted, scored, attacked, kept, shown again, and drawn."""

import json
import shutil
from pathlib import Path

import pytest

from dovision.results.detection_tables import read_adaptive, read_scores
from dovision.results.run_record import read_sweep

NOISE = ("+attack@detection.attacks.random_sign=random_sign", "detection.attacks.random_sign.eps=[0.2]")
FGSM = ("+attack@detection.attacks.fgsm=fgsm", "detection.attacks.fgsm.eps=[0.2,0.3]")
DETECTORS = ("detector=[effect_consistency,max_softmax]", "detection.val_images=40", "detection.test_images=20")
DETECTORS += ("+intervention@detector.effect_consistency.interventions.grid=pixel_grid",)
ADAPTIVE = ("detection.adaptive.detectors=[effect_consistency]", "detection.adaptive.images=3")
ADAPTIVE += ("detection.adaptive.steps=2", "detection.adaptive.restarts=1", "detection.adaptive.eps=0.2")
MAIN = ("attack=fgsm", "attack.eps=[0.2]")


@pytest.fixture(scope="module")
def detected(fitted, tmp_path_factory, dovision_evaluate) -> Path:
    """A run that detects."""
    root = tmp_path_factory.mktemp("detected")
    shutil.copytree(fitted / "checkpoints", root / "checkpoints")
    parts = (*DETECTORS, *NOISE, *FGSM, *ADAPTIVE, *MAIN)
    assert dovision_evaluate(f"output_root={root}", *parts) == 0
    (run,) = read_sweep(root / "evaluate")
    return run.folder


def test_a_run_that_detects_records_costs_queries_gradients_and_failures(detected):
    facts = json.loads((detected / "run.json").read_text())
    assert facts["detector_costs"]["effect_consistency"]["passes"] == 1 + 1 + 2 + 49
    assert facts["condition_queries"]["fgsm"] == {"0.2": 1, "0.3": 1}
    assert 0 <= facts["condition_dead_gradients"] < 1


def test_one_attack_is_enough_for_the_adaptive_attacker(detected):
    scores = read_scores(detected)
    adaptive = scores[scores["attack"] == "adaptive"]
    assert len(adaptive) == 3
    assert set(adaptive["variant"]) == {"supervised, hardened"}
    assert set(adaptive["fitted_on"]) == {"fgsm"}
    steps = read_adaptive(detected)
    assert steps.groupby("direction").size().to_dict() == {"weighted": 3, "selective": 3, "orthogonal": 3}
    assert set(steps["steps"]) == {2}
