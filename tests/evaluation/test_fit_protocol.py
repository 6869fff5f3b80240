"""Families and epsilons that detectors are fitted to, and what is refused of them."""

from __future__ import annotations

import pytest

from dovision.evaluation.fit_protocol import fit_protocol

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
    ("families", "seen", "message"),
    [
        ({"pgd": ["pgd", "apgd"]}, {}, "detection.families.pgd must be one of fgsm, pgd, margin_pgd, got 'apgd'"),
        ({"a": ["random_sign"]}, {}, "detection.families.a must be one of fgsm, pgd, margin_pgd, got 'random_sign'"),
        ({"a": ["pgd"], "b": ["pgd"]}, {}, "must list an attack once, got pgd in a and in b. Remove it from one."),
        ({"a": []}, {}, "detection.families.a must list attacks, got none. Leave the family out."),
        ({"pgd": ["margin_pgd"]}, {}, "pgd must list the attack of its own name, got margin_pgd. Add it, or rename"),
        ({"all attacks": ["pgd"]}, {}, "must not have a family named 'all attacks', which means something else"),
        ({"all but x": ["pgd"]}, {}, "must not have a family named 'all but x'"),
        ({}, {"apgd": [0.1]}, "detection.seen must be one of fgsm, pgd, margin_pgd, got 'apgd'"),
        ({}, {"fgsm": [0.3]}, r"detection.seen.fgsm must name epsilons that are measured \(0.1, 0.2\), got 0.3. Add"),
    ],
)
def test_what_does_not_fit_the_attacks_is_refused(families, seen, message):
    with pytest.raises(ValueError, match=message):
        fit_protocol(EPS, families, seen)
