"""Families and epsilons that detectors are fitted to, and arguments of evaluations that are refused."""

import pytest

import dovision as dv
from dovision.measurement.effects import EffectOptions
from dovision.measurement.explanation_config import MapSettings
from dovision.measurement.fit_protocol import conditions_of, fit_protocol
from dovision.results.resumable_writer import ResumableWriter, Resume

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


ATTACKS = (  # attacks by name, message
    ({"random_sign": dv.FGSM(0.1)}, "detection.attacks.random_sign must be what its name says, got FGSM. Rename"),
    ({"adaptive_l2": dv.FGSM(0.1)}, "detection.attacks.adaptive_l2 must be what its name says, got FGSM"),
    ({"clean": dv.FGSM(0.1)}, "detection.attacks.clean must be what its name says, got FGSM"),
    ({"a": dv.RandomSign(0.1), "b": dv.RandomSign(0.2)}, "one noise of a norm, got b beside another. Join their"),
)
FAMILIES = (  # families, message
    ({"pgd": ["pgd", "apgd"]}, "detection.families.pgd must be one of fgsm, pgd, margin_pgd, got 'apgd'"),
    ({"a": ["random_sign"]}, "detection.families.a must be one of fgsm, pgd, margin_pgd, got 'random_sign'"),
    ({"a": ["pgd"], "b": ["pgd"]}, "must list an attack once, got pgd in a and in b. Remove it from one."),
    ({"a": []}, "detection.families.a must list attacks, got none. Leave the family out."),
    ({"pgd": ["margin_pgd"]}, "pgd must list the attack of its own name, got margin_pgd. Add it, or rename"),
    ({"all attacks": ["pgd"]}, "must not have a family named 'all attacks', which means something else"),
    ({"all but x": ["pgd"]}, "must not have a family named 'all but x'"),
)
SEEN = (  # epsilons that detectors are fitted to, message
    ({"apgd": [0.1]}, "detection.seen must be one of fgsm, pgd, margin_pgd, got 'apgd'"),
    ({"fgsm": [0.3]}, r"detection.seen.fgsm must name epsilons that are measured \(0.1, 0.2\), got 0.3. Add"),
)
MAPS = (  # settings of maps, message
    ({"cells": 0}, "cells must be a whole number of at least 1, got 0"),
    ({"steps": 2.5}, "steps must be a whole number of at least 1, got 2.5"),
    ({"margin": 2}, r"margin must be a number in \[0, 1\], got 2"),
    ({"noise": -1}, r"noise must be a number in \[0, 1\], got -1. It is in pixel units."),
    ({"num_sanity_images": -1}, "num_sanity_images must be at least 0, got -1"),
)
EFFECTS = (  # options of effects, message
    ({"rows": "some"}, "rows must be one of all, named, none, got 'some'"),
    ({"reference": "other"}, "reference must be one of with_autoencoder, without_autoencoder, got 'other'"),
)
CALLS = (
    *((lambda _, given=given: conditions_of(given), message) for given, message in ATTACKS),
    *((lambda _, given=given: fit_protocol(EPS, given), message) for given, message in FAMILIES),
    *((lambda _, given=given: fit_protocol(EPS, seen=given), message) for given, message in SEEN),
    *((lambda _, given=given: MapSettings(**given), message) for given, message in MAPS),
    *((lambda _, given=given: EffectOptions(**given), message) for given, message in EFFECTS),
    (lambda folder: ResumableWriter(folder, "effects", {}, Resume(0)), "checkpoint_every must be a whole number of at"),
    (lambda _: MapSettings(reference="grad_camm").compared(["a", "grad_cam"]), "reference must be one of a, grad_cam"),
)


@pytest.mark.parametrize(("call", "message"), CALLS, ids=[message[:40] for _, message in CALLS])
def test_what_cannot_be_meant_is_refused_in_a_sentence(tmp_path, call, message):
    with pytest.raises(ValueError, match=message):
        call(tmp_path)
