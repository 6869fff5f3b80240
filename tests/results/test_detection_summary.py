"""Numbers of detection counted by hand on four images, in every kind of condition."""

import numpy as np
import pandas as pd
import pytest

from dovision.results.detection_summary import (
    NOT_ADAPTIVE,
    TOO_FEW,
    WHOLE_FAMILY,
    WORST,
    detection,
    fit_controls,
    headlines,
    unseen,
)
from dovision.results.detection_tables import PERMUTED_LABELS, UNFITTED_SUM
from made_scores import VALIDATION, scored, scored_by_hand, write_table

pytestmark = pytest.mark.usefixtures("few_images")


def write(folder, parts, families=None, tuned=None, norms=None):
    write_table(folder, pd.concat(parts), families, tuned, norms)
    return folder


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return detection(write(tmp_path_factory.mktemp("run"), scored_by_hand()))


def row(frame, attack, eps=0.1):
    same = frame["eps"].isna() if np.isnan(eps) else frame["eps"] == eps
    return frame[(frame["attack"] == attack) & same].iloc[0]


def test_the_settings_that_a_fit_has_chosen_stand_in_each_of_its_rows_and_in_the_headlines(found, tmp_path):
    assert set(found["tuned"]) == {""}
    parts = [*scored_by_hand(), *scored_by_hand(detector="squeeze")]
    tuned = detection(write(tmp_path, parts, tuned={("odin", "as is", ""): "step=0.002"}))
    for frame in (tuned, headlines(tuned)):
        assert set(frame.loc[frame["detector"] == "odin", "tuned"]) == {"step=0.002"}
        assert set(frame.loc[frame["detector"] == "squeeze", "tuned"]) == {""}


def test_the_numbers_of_an_attack_and_of_noise_are_those_counted_by_hand(found):
    pgd, noise = row(found, "pgd"), row(found, "random_sign")
    assert pgd[["images", "right", "successful", "success"]].tolist() == [4, 3, 2, pytest.approx(2 / 3)]
    assert pgd[["threshold_1", "threshold_5"]].tolist() == [98, 94]
    # 97 beats all four clean images, 25 beats two of them; of noise: 97 beats four, 25 beats one
    assert pgd[["auroc", "auroc_noise"]].tolist() == [6 / 8, 5 / 8]
    assert pgd[["tpr_1", "tpr_5"]].tolist() == [0, 0.5]
    assert (pgd["auroc_all"], noise["auroc_all"]) == ((4 + 2 + 4 + 3) / 16, (1 + 3 + 3 + 3) / 16)
    assert pgd[["false_clean_1", "false_clean_5", "false_noise_1", "false_noise_5"]].tolist() == [0, 0.25, 0, 0.25]
    assert pgd[["evasion_1", "evasion_5"]].tolist() == pytest.approx([2 / 3, 1 / 3])
    assert np.isnan(noise["auroc_noise"])  # it is held against clean images alone
    # of the same images: it succeeds on the first two, clean 10 and 20, attacked 97 and 25
    assert pgd[["auroc_paired", "auroc_twins"]].tolist() == [1.0, (0.5 + 1.5) / 8]
    whole = found[(found["attack"] == WHOLE_FAMILY) & (found["family"] == "fgsm")].iloc[0]
    assert whole["auroc_twins"] == (1.5 + 2.5) / 8  # of the second and the third


def test_in_the_worst_case_the_lowest_score_that_succeeds_counts_and_adaptive_rows_say_so(found):
    worst = row(found, WORST)  # 97 (fgsm's 5 fails), 25, 98, and 50 of the image that was wrong before
    assert worst["successful"] == 3
    assert worst["auroc"] == pytest.approx((4 + 2 + 4) / 12)
    assert worst["tpr_5"] == pytest.approx(2 / 3)
    assert worst["auroc_all"] == (4 + 2 + 4 + 3) / 16
    assert row(found, WORST, np.nan)["auroc"] == worst["auroc"]  # of one epsilon only
    is_adaptive = found["attack"] == "adaptive"
    assert found.loc[is_adaptive, ["attacker", "evasion_5"]].values.tolist() == [["adaptive", 1.0]]
    assert set(found.loc[~is_adaptive, "attacker"]) == {NOT_ADAPTIVE}


def test_a_single_attack_has_no_worst_case(tmp_path):
    found = detection(write(tmp_path, scored_by_hand()[:4]))
    assert set(found["attack"]) == {"random_sign", "pgd", WHOLE_FAMILY}
    assert headlines(found)["attack"].tolist() == ["random_sign", "pgd"]


@pytest.mark.parametrize(("missing", "split"), [(0, "val"), (1, "test")])
def test_a_run_without_clean_images_of_a_split_is_an_error(tmp_path, missing, split):
    parts = [part for number, part in enumerate(scored_by_hand()) if number != missing]
    with pytest.raises(ValueError, match=f"odin must have scores of clean {split} images, got none"):
        detection(write(tmp_path, parts))


def test_a_rate_that_is_less_than_one_validation_image_has_no_operating_point(tmp_path):
    parts = [scored("clean", VALIDATION[:100], eps=0.0, split="val"), *scored_by_hand()[1:]]
    pgd = row(detection(write(tmp_path, parts)), "pgd")
    at_1, at_5 = (["tpr_" + end, "false_clean_" + end, "evasion_" + end] for end in "15")
    assert pgd[["threshold_1", *at_1]].isna().all()
    assert set(pgd[[f"{name}_reason" for name in at_1]]) == {TOO_FEW}
    assert pgd[["threshold_5", *at_5]].notna().all()


def test_the_family_of_one_attack_at_one_epsilon_has_the_numbers_of_that_attack(found):
    whole = found[(found["attack"] == WHOLE_FAMILY) & (found["family"] == "pgd")].iloc[0]
    same = [name for name in found.columns if name not in ("attack", "eps")]
    pd.testing.assert_series_equal(whole[same], row(found, "pgd")[same], check_names=False)
    assert row(found, "random_sign")["family"] == row(found, WORST)["family"] == ""


def test_a_family_holds_each_attacked_image_against_noise_of_its_own_epsilon(tmp_path):
    parts = [*scored_by_hand(), scored("random_sign", (0.0, 0.0, 98.0, 0.0), (False, False, False, None), eps=0.2)]
    parts += [scored("apgd", (97.0, 99.0, 0.0, 0.0), (True, True, False, None), eps=0.2)]
    found = detection(write(tmp_path, parts, {"pgd": "strong", "apgd": "strong", "fgsm": "fgsm"}))
    whole = found[(found["attack"] == WHOLE_FAMILY) & (found["family"] == "strong")].iloc[0]
    assert whole[["images", "right", "successful"]].tolist() == [8, 6, 4]
    assert whole["auroc"] == pytest.approx((4 + 2 + 4 + 4) / 16)  # 97, 25, 97, 99 against the clean images
    assert whole["auroc_noise"] == pytest.approx((4 + 1 + 3 + 4) / 16)
    assert whole["tpr_5"] == 3 / 4  # above 94
    assert whole["false_noise_5"] == 2 / 8  # of the noise of both epsilons
    assert set(found["family"]) == {"strong", "fgsm", ""}


def test_equal_epsilons_of_two_norms_are_two_worst_cases_beside_the_noise_of_each(tmp_path):
    parts = [*scored_by_hand(), scored("random_sign_l2", (98.0, 24.0, 0.0, 0.0), (False, False, False, None))]
    parts += [scored(name, (97.0, 25.0, 0.0, 0.0), (True, True, False, None)) for name in ("carlini", "l2_pgd")]
    parts += [scored("adaptive_l2", (97.0, 25.0, 0.0, 0.0), (True, True, False, None))]
    norms = dict.fromkeys(("random_sign_l2", "carlini", "l2_pgd"), "l2")
    found = detection(write(tmp_path, parts, dict.fromkeys(("pgd", "carlini"), "both"), norms=norms))
    worst = found[(found["attack"] == WORST) & (found["eps"] == 0.1)].set_index("norm")
    assert worst["successful"].to_dict() == {"linf": 3, "l2": 2}
    assert worst.loc["l2", "auroc_noise"] == row(found, "adaptive_l2")["auroc_noise"] == (3 + 3) / 8
    whole = found[(found["attack"] == WHOLE_FAMILY) & (found["family"] == "both")].iloc[0]
    assert whole["auroc_noise"] == (4 + 1 + 3 + 3) / 16
    assert whole["false_noise_5"] == 2 / 8  # 95 and 98 of the noise of both norms


def test_an_attack_of_another_norm_is_held_against_noise_of_that_norm_where_it_was_measured(tmp_path):
    parts = [*scored_by_hand(), scored("random_sign_l2", (98.0, 24.0, 0.0, 0.0), (False, False, False, None), eps=2.0)]
    parts += [scored("carlini", (97.0, 25.0, 0.0, 0.0), (True, True, False, None), eps=2.0)]
    parts += [scored("ead", (97.0, 25.0, 0.0, 0.0), (True, True, False, None), eps=20.0)]
    found = detection(write(tmp_path, parts, norms={"random_sign_l2": "l2", "carlini": "l2", "ead": "l1"}))
    assert row(found, "carlini", 2.0)["auroc_noise"] == (3 + 3) / 8  # 97 and 25 each beat 24, 0 and 0
    assert row(found, "ead", 20.0)["auroc_noise"] == (4 + 1) / 8  # of Linf, as there is none in L1
    assert row(found, "pgd")["auroc_noise"] == (4 + 1) / 8
    assert set(found.loc[found["attack"] == WHOLE_FAMILY, "family"]) == {"pgd", "fgsm", "carlini", "ead"}


FITS = [
    ("odin", "as is", ""),
    ("net", "supervised", "all attacks"),
    ("net", "supervised, hardened", "pgd"),
    ("net", "supervised, hardened", "all attacks"),
    ("net", "supervised, hardened", "all but pgd"),
    ("net", "supervised, hardened", "all but fgsm"),
    ("net", "supervised, hardened", PERMUTED_LABELS),
]


def made(folder):
    """Several fits of two detectors; those to all but a family have scores of that family alone."""
    parts = []
    for detector, variant, fitted_on in FITS:
        own = scored_by_hand(detector=detector, variant=variant, fitted_on=fitted_on)
        if fitted_on.startswith("all but"):
            known = ("clean", "random_sign", fitted_on.removeprefix("all but "))
            own = [part for part in own if part["attack"].iloc[0] in known]
        parts += own
    return write(folder, parts)


def test_the_unseen_families_are_those_that_a_detector_was_not_fitted_to_in_its_preferred_variant(tmp_path):
    rows = unseen(detection(made(tmp_path)))
    assert rows[["detector", "fitted_on", "family"]].to_numpy().tolist() == [
        ["odin", "", "pgd"],
        ["odin", "", "fgsm"],
        ["net", "all but pgd", "pgd"],
        ["net", "all but fgsm", "fgsm"],
    ]
    named = headlines(detection(made(tmp_path)))
    assert set(named["fitted_on"]) == {"", "all attacks", "all but pgd", "all but fgsm"}


def test_a_fit_to_permuted_labels_is_scored_on_the_attacks_beside_the_true_one_and_the_sum(tmp_path):
    """Of the attacks 97, 25, 26, 98, clean 10, 20, 30, 96; under permuted labels all scores are turned around."""
    fits = {
        ("supervised, hardened", "all attacks"): lambda score: score,
        ("supervised", "all attacks"): lambda score: 0 * score,
        ("supervised", PERMUTED_LABELS): lambda score: -score,
        (UNFITTED_SUM, ""): lambda score: score // 25,
    }
    parts = scored_by_hand()
    for (variant, fitted_on), change in fits.items():
        names = {"detector": "net", "variant": variant, "fitted_on": fitted_on}
        parts += [part.assign(score=change(part["score"].astype(float))) for part in scored_by_hand(**names)]
    frame = detection(write(tmp_path, parts))
    controls = fit_controls(frame)
    assert controls["fit"].tolist() == ["true labels", PERMUTED_LABELS, UNFITTED_SUM]
    area = (4 + 2 + 2 + 4) / 16
    assert controls["auroc"].tolist() == [area, 1 - area, (3.5 + 2.5 + 2.5 + 3.5) / 16]
    assert set(controls["successful"]) == {4}
    assert PERMUTED_LABELS not in set(headlines(frame)["fitted_on"])
