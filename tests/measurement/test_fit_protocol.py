"""Families and epsilons that detectors are fitted to, and what is refused of them."""

from __future__ import annotations

import pytest

import dovision as dv
from dovision.measurement.fit_protocol import conditions_of, fit_protocol

EPS = {"random_sign": (0.1,), "fgsm": (0.1, 0.2), "pgd": (0.1,), "margin_pgd": (0.3,)}


def test_an_attack_in_no_family_is_one_of_its_own_and_noise_is_in_none():
    protocol = fit_protocol(EPS, {"pgd": ["pgd", "margin_pgd"]})
    assert protocol.family == {"fgsm": "fgsm", "pgd": "pgd", "margin_pgd": "pgd"}
    assert fit_protocol(EPS).family == {"fgsm": "fgsm", "pgd": "pgd", "margin_pgd": "margin_pgd"}


def test_all_epsilons_are_seen_but_those_of_attacks_that_are_named():
    protocol = fit_protocol(EPS, seen={"fgsm": [0.2]})
    assert [protocol.sees("fgsm", eps) for eps in EPS["fgsm"]] == [False, True]
    assert protocol.sees("pgd", 0.1)
    assert not protocol.sees("random_sign", 0.1)
    assert not protocol.sees("clean", 0.0)


@pytest.mark.parametrize(
    ("attack", "condition"),
    [
        (dv.RandomSign(0.1), "random_sign"),
        (dv.RandomSign(0.1, "l2"), "random_sign_l2"),
        (dv.RandomSign(0.1, "l1"), "random_sign_l1"),
        (dv.RandomSpatial(1.0, degrees=30, pixels=1), "random_spatial"),
        (dv.FGSM(0.1), "some_key"),
    ],
)
def test_noise_has_the_name_of_its_norm_whatever_its_key(attack, condition):
    assert conditions_of({"some_key": attack}) == {condition: attack}


@pytest.mark.parametrize(
    ("attacks", "message"),
    [
        ({"random_sign": dv.FGSM(0.1)}, "detection.attacks.random_sign must be what its name says, got FGSM. Rename"),
        ({"adaptive_l2": dv.FGSM(0.1)}, "detection.attacks.adaptive_l2 must be what its name says, got FGSM"),
        ({"clean": dv.FGSM(0.1)}, "detection.attacks.clean must be what its name says, got FGSM"),
        ({"a": dv.RandomSign(0.1), "b": dv.RandomSign(0.2)}, "one noise of a norm, got b beside another. Join their"),
    ],
)
def test_a_condition_has_one_meaning(attacks, message):
    with pytest.raises(ValueError, match=message):
        conditions_of(attacks)
