"""Detection where the answers are known by hand: an image is one grey, which is all that is read of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader

import dovision as dv
from dovision.measurement import detection as module
from dovision.measurement.callback import ClassifierUnderTest
from dovision.measurement.detector_fits import Fitted, fit_detectors, for_thresholds, shown
from dovision.measurement.fit_protocol import fit_protocol
from dovision.results.detection_summary import WHOLE_FAMILY, read_detection
from dovision.results.detection_tables import (
    ATTACKS,
    PERMUTED_LABELS,
    READS,
    SCORES,
    UNFITTED_SUM,
    attack_rates,
    read_reads,
    read_scores,
)
from made_trainer import quiet_trainer
from tests.measurement.conftest import Brightness

pytestmark = pytest.mark.usefixtures("few_images")
TASK = dv.Task("multiclass", ("dark", "bright"))


class Shift(dv.Attack):
    """Makes dark images brighter and bright ones darker by eps, after a look at the answer."""

    def run(self, batch, classifier, eps):
        classifier(batch.image)
        away = torch.where(batch.label == 0, 1.0, -1.0).view(-1, 1, 1, 1)
        return (batch.image + eps * away).clamp(0, 1)


class Noise(Shift):
    """Harmless if small; noise by its flag, whatever its key."""

    is_noise = True


class Fails(dv.Attack):
    """Fails on the test images, in the middle of the run, at its second epsilon."""

    def run(self, batch, classifier, eps):
        if batch.group[0] >= 100 and eps > 0.05:
            raise KeyError("out of luck")
        return batch.image


class Grey(dv.Detector):
    """Reads the mean; the score is its distance to the nearest mean of the fit."""

    passes = 0

    def read_features(self, batch, classifier):
        return batch.image.mean((1, 2, 3)).unsqueeze(1)

    def fit_features(self, clean, attacked):
        self.seen = clean[:, 0]

    def score_features(self, read):
        return (read - self.seen).abs().amin(1)


class Plain(Grey):
    """Nothing to fit: the score is the mean itself."""

    fit_features = dv.Detector.fit_features

    def score_features(self, read):
        return read[:, 0]


class Taught(Grey):
    """The score is how much nearer the mean is to an attacked one than to a clean one."""

    supervised = True

    def fit_features(self, clean, attacked):
        self.clean, self.attacked = clean[:, 0], attacked[:, 0]

    def score_features(self, read):
        return (read - self.clean).abs().amin(1) - (read - self.attacked).abs().amin(1)


def rows(batch: dv.Batch) -> list[dv.Batch]:
    return [batch.rows([row]) for row in range(len(batch.image))]


def split(greys: list[float], first_group: int) -> list[dv.Batch]:
    image, number = torch.tensor(greys).view(-1, 1, 1, 1).expand(-1, 1, 2, 2), torch.arange(len(greys))
    label = (torch.tensor(greys) > 0.5).long()
    return [dv.Batch(*fields) for fields in zip(image, label, number, first_group + number, strict=True)]


VAL, TEST = [0.1, 0.1, 0.1, 0.4, 0.6, 0.1, 0.9], [0.2, 0.45, 0.55, 0.8]
KEPT = [0, 2, 5]  # of the validation images, for thresholds; .1, .4, .6 and .9 are left to be fitted to


def run(
    folder: Path, conditions: dict[str, dv.Attack], val=VAL, first_group: int = 100, more=None, **settings: Any
) -> dv.Detection:
    classifier = dv.Classifier(Brightness(), TASK, [0.0], [1.0])
    detectors = {"grey": Grey(), "plain": Plain(), "taught": Taught()} | (more or {})
    resume = dv.Resume(settings.pop("checkpoint_every", 64), settings.pop("origin", None))
    options = dv.DetectionOptions(resume=resume, **settings)
    detection = dv.Detection(folder, conditions, detectors, classifier, options=options)
    trainer = quiet_trainer(detection)
    loaders = [DataLoader(split(val, 0), 3), DataLoader(split(TEST, first_group), 3)]
    module = ClassifierUnderTest(classifier)
    trainer.test(module, loaders, verbose=False)
    detection.logged = module.numbers
    return detection


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("detection")
    run(folder, {"noise": Noise(0.01), "shift": Shift([0.2, 0.01])})
    return folder


def test_the_areas_of_the_table_are_logged(tmp_path):
    detection = run(tmp_path, {"noise": Noise(0.01), "shift": Shift([0.2, 0.3])})
    table = read_detection(tmp_path)
    logged = {name: value for name, value in detection.logged.items() if name.startswith("detection_auroc/")}
    chosen = table[table["variant"].isin(["as is", "clean and noise", "supervised, hardened"])]
    chosen = chosen[chosen["attack"] != WHOLE_FAMILY]  # there is one family alone
    plain = chosen[chosen["detector"] == "plain"].set_index(["attack", "eps"])["auroc"]
    assert logged["detection_auroc/plain/shift eps=0.2"] == pytest.approx(plain["shift", 0.2], abs=1e-12)
    assert {name.split("/")[1] for name in logged} == {"grey", "plain", "taught"}
    assert detection.record["condition_queries"]["shift"] == {"0.2": 1.0, "0.3": 1.0}
    assert len(logged) == chosen["auroc"].notna().sum()


def test_each_condition_is_read_on_both_splits(folder):
    (reads,) = read_reads(folder, "plain")
    conditions = reads.images.groupby(["split", "attack", "eps"]).size().to_dict()
    names = [("clean", 0.0), ("random_sign", 0.01), ("shift", 0.01), ("shift", 0.2)]
    assert conditions == {(part, *name): count for part, count in (("val", 7), ("test", 4)) for name in names}
    strong = (reads.images["split"] == "test") & (reads.images["attack"] == "shift") & (reads.images["eps"] == 0.2)
    torch.testing.assert_close(reads.chosen(strong)[:, 0], torch.tensor([0.4, 0.65, 0.35, 0.6]))
    assert reads.images[strong]["success"].tolist() == [False, True, True, False]
    assert reads.images[reads.images["attack"] == "clean"]["success"].isna().all()


def test_a_share_of_the_images_is_attacked_and_no_image_of_a_threshold(tmp_path):
    run(tmp_path, {"shift": Shift(0.2)}, [*VAL, 0.6, 0.4], attacked_share={"val": 0.5, "test": 0.5})
    (reads,) = read_reads(tmp_path, "plain")
    samples = reads.images.groupby(["split", "attack"])["sample"].apply(sorted).to_dict()
    assert samples == {
        ("val", "shift"): [1, 4],  # 3, 6 and 8 are left out; 0, 2, 5 and 7 are for thresholds
        ("val", "clean"): [0, 1, 2, 4, 5, 7],
        ("test", "shift"): [1, 2],
        ("test", "clean"): [0, 1, 2, 3],
    }


def test_detectors_are_fitted_in_each_fair_variant(folder):
    scores = read_scores(folder)
    variants = {
        name: sorted(set(zip(rows["variant"], rows["fitted_on"], strict=True)))
        for name, rows in scores.groupby("detector")
    }
    assert variants == {
        "grey": [("clean and noise", ""), ("clean only", "")],
        "plain": [("as is", "")],
        "taught": [("supervised", "shift"), ("supervised, hardened", "shift")],
    }


def test_scores_are_those_of_a_fit_on_validation_alone(folder):
    scores = read_scores(folder)
    rows = scores[(scores["detector"] == "grey") & (scores["variant"] == "clean only") & (scores["split"] == "test")]
    clean = rows[rows["attack"] == "clean"].sort_values("sample")["score"]
    np.testing.assert_allclose(clean, [0.1, 0.05, 0.05, 0.1], atol=1e-6)
    noisy = rows[rows["attack"] == "random_sign"].sort_values("sample")["score"]
    np.testing.assert_allclose(noisy, [0.11, 0.06, 0.06, 0.11], atol=1e-6)


def test_a_supervised_detector_sees_successful_attacks_only(folder):
    scores = read_scores(folder)
    rows = scores[(scores["variant"] == "supervised") & (scores["split"] == "test") & (scores["eps"] == 0.2)]
    beaten = rows.set_index("sample")["score"]  # val at .4 and .6 was moved to .6 and .4, and beaten
    np.testing.assert_allclose(beaten[1], (0.65 - 0.6) - (0.65 - 0.6), atol=1e-6)
    np.testing.assert_allclose(beaten[0], 0.0 - 0.0, atol=1e-6)


def test_no_detector_is_fitted_to_the_patients_whose_images_make_the_thresholds(folder):
    scores = read_scores(folder)
    assert set(scores[scores["split"] == "val"]["attack"]) == {"clean", "random_sign"}
    rows = scores[(scores["split"] == "val") & (scores["attack"] == "clean")]
    for _, own in rows.groupby(["detector", "variant", "fitted_on"], observed=True):
        assert own["sample"].tolist() == KEPT
    for groups in (pd.Series(range(3000)), 3 * pd.Series(range(3000)) + 1):
        assert for_thresholds(groups).mean() == pytest.approx(1 / 3, abs=0.001)
        assert for_thresholds(groups).rolling(50).mean().dropna().between(0.25, 0.42).all()


def test_an_attack_that_beats_nobody_teaches_nobody_and_is_not_enough_for_supervised_detectors(tmp_path, caplog):
    detection = run(tmp_path, {"weak": Shift(0.001)})
    fits = fit_detectors(tmp_path, detection.detectors, detection.protocol)
    assert [fitted.name for fitted in fits] == ["grey", "plain"]
    assert "weak beat fewer than 2 validation images" in caplog.text
    with pytest.raises(ValueError, match=r"supervised detectors \(taught\) need at least 2 validation images on which"):
        fit_detectors(tmp_path, {"taught": detection.detectors["taught"]}, detection.protocol)


def test_an_attack_that_hardly_succeeds_at_any_epsilon_is_warned_of(tmp_path, caplog):
    run(tmp_path, {"noise": Noise(0.01), "weak": Shift([0.001, 0.002]), "strong": Shift([0.001, 0.2])})
    (line,) = [line for line in caplog.messages if "succeed on less than" in line]
    assert "less than 5% of the images that are right when clean, at every eps (weak 0.0%): the numbers" in line


def test_an_attack_that_fails_is_left_out_with_its_reason_and_tried_again_by_the_next_start(
    tmp_path, monkeypatch, caplog
):
    def start(folder, attacks):
        return run(tmp_path / folder, attacks, origin={"code": "1"}, checkpoint_every=1)

    shift = {"noise": Noise(0.01), "shift": Shift(0.2)}
    without, record = start("without", shift).record, start("with", {**shift, "fails": Fails([0.05, 0.1])}).record
    assert record["failed_attacks"] == {"fails": "KeyError at eps=0.1: 'out of luck'"}
    assert "left out of detection: attack fails: KeyError at eps=0.1: 'out of luck'" in caplog.messages
    assert without["failed_attacks"] == {}
    assert record["condition_queries"] == without["condition_queries"]
    for table in (ATTACKS, READS.named("taught"), SCORES):
        pd.testing.assert_frame_equal(table.read(tmp_path / "with"), table.read(tmp_path / "without"))
    frames = [read_detection(tmp_path / folder) for folder in ("with", "without")]
    pd.testing.assert_frame_equal(*frames)
    monkeypatch.setattr(Fails, "run", lambda self, batch, classifier, eps: batch.image)
    assert start("with", {**shift, "fails": Fails([0.05, 0.1])}).failed == {}
    assert set(ATTACKS.read(tmp_path / "with")["attack"]) == {"random_sign", "shift", "fails"}


@pytest.mark.parametrize(
    ("attack", "settings", "message"),
    [
        (Fails(0.1), {}, r"needs an attack that runs, got errors alone \(attack: KeyError at eps=0.1: "),
        (Shift(0.2), {"val": []}, "fitted on validation images, got none. Give at least some hundreds"),
        (Shift(0.2), {"first_group": 3}, r"got 4 patients \(groups\) with images in val and in test\. Cut the splits"),
    ],
)
def test_what_no_detector_can_be_fitted_to_or_fairly_tested_on_is_refused(tmp_path, attack, settings, message):
    with pytest.raises(ValueError, match=message):
        run(tmp_path, {"attack": attack}, **settings)


def test_the_fit_that_is_shown_is_the_hardened_one_to_all_attacks_or_the_nearest_to_it(folder, tmp_path):
    detectors = {"grey": Grey(), "plain": Plain(), "taught": Taught()}
    variants = [
        (fitted.name, fitted.variant, fitted.fitted_on)
        for fitted in shown(fit_detectors(folder, detectors, fit_protocol({"shift": [0.2, 0.01]})))
    ]
    assert variants == [
        ("grey", "clean and noise", ""), ("plain", "as is", ""), ("taught", "supervised, hardened", "shift"),
    ]  # fmt: skip
    # no noise, so that nothing is hardened
    protocol = run(tmp_path, {"shift": Shift(0.2), "other": Shift([0.15, 0.3])}).protocol
    fits = fit_detectors(tmp_path, detectors, protocol)
    variants = [(fitted.variant, fitted.fitted_on) for fitted in shown(fits)]
    assert variants == [("clean only", ""), ("as is", ""), ("supervised", "all attacks")]
    assert shown([]) == []


def seen_by(fits: list[Fitted]) -> dict[tuple[str, str], list[float]]:
    """What each supervised fit has seen of attacked images, by variant and fit."""
    return {
        (fitted.variant, fitted.fitted_on): sorted(round(grey, 2) for grey in fitted.detector.attacked.tolist())
        for fitted in fits
        if fitted.name == "taught"
    }


def test_supervised_detectors_are_fitted_to_each_family_to_all_and_to_all_but_each(tmp_path):
    # of the images fitted to, those at .4 and .6 are beaten from .1 on, those at .1 and .9 from .4 on
    attacks = {"noise": Noise(0.01), "weak": Shift(0.2), "strong": Shift([0.3, 0.45]), "third": Shift(0.15)}
    families, seen = {"shifts": ["weak", "strong"]}, {"strong": [0.3]}
    detection = run(tmp_path, attacks, families=families, seen=seen)
    found = seen_by(fit_detectors(tmp_path, detection.detectors, detection.protocol))
    shifts, third = [0.3, 0.4, 0.6, 0.7], [0.45, 0.55]
    assert found == {
        ("supervised", "all attacks"): sorted(shifts + third),
        ("supervised, hardened", "all attacks"): sorted(shifts + third),
        ("supervised, hardened", "shifts"): shifts,
        ("supervised, hardened", "all but shifts"): third,
        ("supervised, hardened", "third"): third,
        ("supervised, hardened", "all but third"): shifts,
    }
    whole = fit_protocol({name: attack.eps for name, attack in attacks.items()}, families)
    found = seen_by(fit_detectors(tmp_path, detection.detectors, whole))
    assert found["supervised, hardened", "shifts"] == sorted([*shifts, 0.15, 0.45, 0.55, 0.85])


def test_controls_are_a_fit_to_permuted_labels_and_the_sum_of_what_a_monotone_detector_reads(tmp_path):
    class Summed(Taught):
        def sum_features(self, features):
            return features.sum(1)

    val = [round(0.3 + 0.001 * number, 3) for number in range(60)]  # all of them dark, and beaten by a shift of .3
    conditions = {"noise": Noise(0.01), "shift": Shift(0.3)}
    detection = run(tmp_path, conditions, val=val, controls=True, more={"summed": Summed()})
    fits = fit_detectors(tmp_path, detection.detectors, detection.protocol)
    clean = np.array(val)[~for_thresholds(pd.Series(range(60))).to_numpy()]
    (permuted,) = (fit.detector.attacked for fit in fits if fit[0] == "taught" and fit.fitted_on == PERMUTED_LABELS)
    assert len(permuted) == len(clean)
    from_clean = sum(np.isclose(grey, clean, atol=1e-5).any() for grey in permuted.tolist())
    assert 0.2 < from_clean / len(clean) < 0.8
    assert {fit.name for fit in fits if fit.variant == UNFITTED_SUM} == {"summed"}
    scores = read_scores(tmp_path)
    scored = scores[scores["fitted_on"] == PERMUTED_LABELS]
    assert set(scored["attack"]) == {"clean", "shift", "random_sign"}
    sums = scores[(scores["variant"] == UNFITTED_SUM) & (scores["attack"] == "clean") & (scores["split"] == "test")]
    assert sorted(sums["score"]) == pytest.approx(sorted(TEST), abs=1e-6)


def test_what_a_fit_has_chosen_is_written_and_one_to_all_but_a_family_scores_that_family_alone(tmp_path):
    class Tuned(Taught):
        def fit_features(self, clean, attacked):
            super().fit_features(clean, attacked)
            self.tuned = {"step": 0.00200, "layers": [0, len(attacked)]}

    run(tmp_path, {"noise": Noise(0.01), "shift": Shift(0.2), "other": Shift([0.2, 0.3])}, more={"tuned": Tuned()})
    table = read_detection(tmp_path)
    tuned = table[table["detector"] == "tuned"].groupby("fitted_on")["tuned"].unique().map(list).to_dict()
    assert tuned["shift"] == ["step=0.002, layers=[0, 2]"]
    assert tuned["other"] == tuned["all but shift"] == ["step=0.002, layers=[0, 4]"]
    assert set(table.loc[table["detector"] == "taught", "tuned"]) == {""}
    scores = read_scores(tmp_path)
    taught = scores[scores["detector"] == "taught"].groupby("fitted_on", observed=True)
    scored = {name: set(rows["attack"]) for name, rows in taught}
    assert scored["all but shift"] == {"clean", "random_sign", "shift"}
    assert scored["all but other"] == {"clean", "random_sign", "other"}
    assert scored["shift"] == scored["all attacks"] == {"clean", "random_sign", "shift", "other"}


def test_the_success_of_attacks_by_condition(folder):
    frame = attack_rates(folder).set_index(["attack", "eps"])
    assert list(frame.index) == [("random_sign", 0.01), ("shift", 0.2), ("shift", 0.01)]
    strong = frame.loc[("shift", 0.2)]
    assert strong[["images", "right", "success", "robust_accuracy"]].tolist() == [4, 4, 0.5, 0.5]
    assert strong["linf"] == pytest.approx(0.2)
    assert strong["l2"] == pytest.approx(0.4)  # four pixels


class Counts(Shift):
    """Counts its passes, and fails for good after some images."""

    left = 100

    def run(self, batch, classifier, eps):
        Counts.left -= len(batch.image)
        if Counts.left < 0:
            raise KeyboardInterrupt
        classifier(batch.image)
        return super().run(batch, classifier, eps)


@pytest.mark.parametrize(
    "images", [3, 7, 10, 11]
)  # after the first batch, between the splits, in the second one, and all
def test_what_was_read_before_a_stop_is_taken_up_and_the_same_to_the_byte(tmp_path, monkeypatch, images):
    def start(folder):
        attacks = {"noise": Noise(0.01), "shift": Counts([0.2])}
        return run(tmp_path / folder, attacks, origin={"code": "1"}, checkpoint_every=1)

    whole = start("whole").record
    with monkeypatch.context() as patch:
        patch.setattr(Counts, "left", images)
        patch.setattr(module, "fit_detectors", None)
        with pytest.raises((KeyboardInterrupt, SystemExit, TypeError)):
            start("stopped")
    monkeypatch.setattr(Counts, "left", len(VAL) + len(TEST) - images)  # no image is attacked twice
    record = start("stopped").record
    assert record["condition_queries"] == whole["condition_queries"]
    assert record["condition_dead_gradients"] == whole["condition_dead_gradients"]
    tables = [path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").glob("**/*.parquet")]
    assert len([table for table in tables if table.parts[0] != "chunks"]) == 6
    for table in tables:
        assert (tmp_path / "stopped" / table).read_bytes() == (tmp_path / "whole" / table).read_bytes()
