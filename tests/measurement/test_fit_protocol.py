"""Families and epsilons that detectors are fitted to, and what is refused of them."""

from __future__ import annotations

from dovision.measurement.fit_protocol import fit_protocol

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
