"""Components of the notebook API by the names of their classes and of their yaml files."""

import functools
import inspect
import re
from importlib import import_module

import captum.attr
import foolbox
import pytest
import pytorch_ood.detector as ood
import torch
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from torchvision.transforms import v2

import dovision as dv
from dovision.config import component_names
from dovision.config.sources import HYDRA_DEFAULTS, configuration_folder
from dovision.measurement.by_name import named_components, one_component, snake_case

HOMES = component_names.component_homes()
REFUSED = {
    "group": (("attacks", "pgd"), "group must be one of attack, dataset, "),
    "name": (("attack", "pdg"), "got 'pdg'. Did you mean pgd?"),
    "settings": (("attack", "pgd", ["eps"]), "settings must be a mapping, such as {'eps': 0.1}, got ['eps']."),
    "setting": (("attack", "pgd", {"epsilon": 0.1}), "attack pgd has no key 'epsilon'. Did you mean eps?"),
    "target": (("attack", "pgd", {"_target_": "os.system"}), "attack pgd has no key '_target_'"),
    "seed": (("attack", "pgd", {}, -1), "seed must be a whole number of at least 0, got -1."),
    "value": (("attack", "pgd", {"eps": "8/256/1"}), 'eps must be a number or a fraction such as "8/255"'),
}


@pytest.mark.parametrize("name", HOMES)
def test_every_component_is_an_attribute(name):
    found = getattr(dv, name)
    assert found is getattr(import_module(f"dovision.{HOMES[name]}"), name)
    assert found.__module__ == f"dovision.{HOMES[name]}"
    assert name in dir(dv)


def test_what_is_no_name_is_an_attribute_error_as_of_any_module():
    with pytest.raises(AttributeError, match="module 'dovision' has no attribute 'PDG'"):
        dv.PDG  # noqa: B018
    with pytest.raises(AttributeError, match=r"'KernelSHAP'\. Write dv\.component\(\"explainer\", \"KernelSHAP\"\)"):
        dv.KernelSHAP  # noqa: B018
    assert not hasattr(dv, "_private")
    assert {"captum", "wrap", "PGD", "EffectEvaluation"} <= set(dir(dv))


def test_a_component_has_the_settings_of_its_file_unless_others_are_given():
    attack = dv.component("attack", "pgd", {"eps": ["2/255", 0.1]}, seed=7)
    assert (type(attack), attack.eps, attack.steps, attack.seed) == (dv.PGD, (2 / 255, 0.1), 20, 7)
    assert isinstance(dv.component("explainer", "grad_cam", {"layer": "3"}), dv.GradCAM)
    assert isinstance(dv.component("intervention", "pixel_grid", {"fill": dv.Mean()}).fill, dv.Mean)
    assert dv.component("intervention", "activation", {"site": "features.0"}).site == "features.0"


def test_the_hydra_of_a_command_stays_as_it_was():
    with initialize_config_dir(str(configuration_folder()), **HYDRA_DEFAULTS):
        before = GlobalHydra.instance().hydra
        assert isinstance(dv.component("fill", "blur"), dv.Blur)
        assert GlobalHydra.instance().hydra is before


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_component_refuses(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        dv.component(*arguments)


def brightness(batch, target, classifier):
    return batch.image.mean(1)


def brighter(batch, classifier, eps, gain=1):
    return (batch.image + gain * eps).clamp(0, 1)


def darkness(batch, classifier):
    return 1 - batch.image.mean((1, 2, 3))


class Bright(dv.Explainer):
    def run(self, batch, target, classifier):
        return brightness(batch, target, classifier)


class Brighter(dv.Attack):
    def run(self, batch, classifier, eps):
        return brighter(batch, classifier, eps)


class Stepwise(Brighter):
    def __init__(self, eps, steps):
        super().__init__(eps)


CLASSIFIER, DIGITS = dv.example()
EPS = {"eps": 0.1}
SALIENCY = captum.attr.Saliency
SAME = {  # what stands for a component, and the component
    "explainer": (
        ("BrightnessMap", dv.BrightnessMap()),
        (dv.BrightnessMap, dv.BrightnessMap()),
        (Bright, dv.BrightnessMap()),
        (brightness, dv.BrightnessMap()),
        (lambda *arguments: brightness(*arguments).detach().numpy(), dv.BrightnessMap()),
        (DIGITS.image.mean(1), dv.BrightnessMap()),
        (DIGITS.image.numpy(), dv.BrightnessMap()),
        ("LIME", dv.component("explainer", "lime")),
        ("saliency", dv.Captum("Saliency")),
        ("KernelSHAP", dv.Captum("KernelShap")),
        (SALIENCY, dv.Captum("Saliency")),
        (SALIENCY(CLASSIFIER.network), dv.Captum("Saliency")),
        (functools.partial(SALIENCY, abs=False), dv.Captum("Saliency", arguments={"abs": False})),
        ("GradCAM++", lambda: dv.CAM("GradCAMPlusPlus")),
        ("layer_cam", lambda: dv.CAM("LayerCAM")),
    ),
    "attack": (
        ("F-GSM", dv.FGSM(0.1)),
        (dv.FGSM, dv.FGSM(0.1)),
        (Brighter, Brighter(0.1)),
        (brighter, Brighter(0.1)),
        (functools.partial(brighter, eps=0.1), Brighter(0.1)),
        (functools.partial(brighter, eps=0.2, gain=0.5), Brighter(0.1)),
        ("LinfFastGradientAttack", dv.FGSM(0.1)),
        (foolbox.attacks.FGSM, dv.FGSM(0.1)),
        (foolbox.attacks.FGSM(), dv.FGSM(0.1)),
        ("L2DeepFoolAttack", dv.FoolboxAttack("L2DeepFoolAttack", 0.1)),
    ),
    "detector": (
        ("MAXSOFTMAX", dv.MaxSoftmax()),
        (dv.MaxSoftmax, dv.MaxSoftmax()),
        ("EnergyBased", dv.PytorchOOD("EnergyBased")),
        (ood.EnergyBased, dv.PytorchOOD("EnergyBased")),
        (ood.EnergyBased(CLASSIFIER.network, t=2.0), dv.PytorchOOD("EnergyBased", {"t": 2.0})),
    ),
    "intervention": (
        ("Edge_Control", dv.component("intervention", "edge_control")),
        (dv.PixelGrid, dv.component("intervention", "pixel_grid")),
        (dv.BitDepth(1), dv.Transform({"bit_depth": dv.BitDepth(1)})),
        (torch.square, dv.Transform({"square": lambda image, context: image**2})),
        (functools.partial(torch.full_like, fill_value=0.5), dv.PixelGrid(1, 1, dv.Constant(0.5))),
        ({"a": torch.square}, dv.Transform({"a": lambda image, context: image**2})),
        (v2.Grayscale(), dv.Transform({"a": lambda image, context: image})),
    ),
}
CASES = [(group, number) for group, pairs in SAME.items() for number in range(len(pairs))]


def outcome(group, component):
    if group == "explainer":
        return component(DIGITS, DIGITS.label, CLASSIFIER)
    if group == "attack":
        return component(DIGITS, CLASSIFIER)
    if group == "detector":
        return component.score(component.read(DIGITS, CLASSIFIER))
    return dv.effect_map(CLASSIFIER, DIGITS, component).effect


@pytest.mark.parametrize(("group", "number"), CASES)
def test_whatever_stands_for_a_component_gives_what_the_component_gives(group, number):
    value, expected = SAME[group][number]
    settings = EPS if group == "attack" and not isinstance(value, functools.partial) else {}
    made = one_component(group, value, 0, settings)
    expected = expected() if inspect.isfunction(expected) else expected
    torch.testing.assert_close(outcome(group, made), outcome(group, expected))


WRONG = {  # what is no component of a group, and what it was taken for
    "explainer": (
        (dv.FGSM(0.1), "explainer must be an explainer, or the name of one, such as 'grad_cam', got an attack, FGSM."),
        (dv.FGSM, "got an attack, FGSM."),
        ("pgd", "explainer must be an explainer, got 'pgd', which is an attack."),
        (foolbox.attacks.FGSM(), "got an attack, LinfFastGradientAttack."),
        (CLASSIFIER.network, "got a network, Sequential."),
        (dv.PixelGrid(2, 2), "got an intervention, PixelGrid."),
        (darkness, "got the function darkness(batch, classifier). It must take (batch, target, classifier)."),
        ("grad_camm", "Did you mean grad_cam"),
        (torch.zeros(8), "maps must be of shape (N, h, w), got (8,)."),
        (3, "got 3."),
    ),
    "attack": (
        (None, "attack must be an attack, or the name of one, such as 'pgd', got None."),
        (SALIENCY, "got an explainer, Saliency."),
        (brighter, "eps must be given with brighter, got none. Write eps='8/255', for one."),
        (Brighter, "eps must be given with Brighter, got none."),
        (foolbox.attacks.FGSM, "eps must be given with LinfFastGradientAttack, got none."),
        (Stepwise, "attack must be an object of Stepwise, got the class: missing a required argument: 'steps'. Call"),
    ),
    "detector": ((dv.GradCAM(), "got an explainer, GradCAM."), ("entrop", "Did you mean entropy")),
    "intervention": (({}, "intervention must be an intervention, or the name of one"), ("entropy", "is a detector.")),
}


@pytest.mark.parametrize(("group", "value", "message"), [(group, *pair) for group in WRONG for pair in WRONG[group]])
def test_a_wrong_kind_is_told_with_what_it_was_taken_for(group, value, message):
    settings = EPS if value is Stepwise else {}
    with pytest.raises(ValueError, match=re.escape(message)):
        one_component(group, value, 0, settings)


def test_stored_maps_are_nan_of_other_images_and_networks_and_take_part_in_compare():
    maps = one_component("explainer", DIGITS.image.mean(1))
    assert maps(DIGITS, DIGITS.label, CLASSIFIER).isfinite().all()
    for batch, classifier in ((DIGITS._replace(image=1 - DIGITS.image), CLASSIFIER), (DIGITS, dv.example()[0])):
        assert maps(batch, DIGITS.label, classifier).isnan().all()
    with pytest.raises(ValueError, match="maps must be one an image, got 8 for samples up to 9"):
        maps(DIGITS._replace(sample=DIGITS.sample + 2), DIGITS.label, CLASSIFIER)
    explained = dv.explain(CLASSIFIER, DIGITS.image, {"mine": DIGITS.image[:, 0].numpy(), "theirs": "BrightnessMap"})
    table = dv.compare(explained).to_pandas().dropna(subset="difference")
    assert len(table)
    assert (table["difference"] == 0).all()


def test_zennits_composites_give_its_own_relevance():
    composites = pytest.importorskip("zennit.composites", reason="zennit is not installed")
    attribution = import_module("zennit.attribution")
    image = (DIGITS.image - CLASSIFIER.mean) / CLASSIFIER.std
    expected = attribution.Gradient(CLASSIFIER.network, composites.EpsilonPlus())(image, torch.eye(10)[DIGITS.label])[1]
    smooth = attribution.Gradient(torch.nn.Identity(), composites.EpsilonPlus())
    for value in (composites.EpsilonPlus, composites.EpsilonPlus(), "EpsilonPlus", smooth):
        torch.testing.assert_close(outcome("explainer", one_component("explainer", value)), expected.sum(1))


def test_an_attack_of_torchattacks_is_the_librarys_own():
    library = pytest.importorskip("torchattacks", reason="torchattacks is not installed")
    own = library.PGD(CLASSIFIER, eps=0.1, alpha=0.02, steps=5, random_start=False)
    for value in (own, functools.partial(library.PGD, alpha=0.02, steps=5, random_start=False)):
        made = one_component("attack", value, 0, {} if value is own else EPS)
        torch.testing.assert_close(outcome("attack", made), own(DIGITS.image, DIGITS.label))
    with pytest.raises(ValueError, match="eps must be given with CW of torchattacks, got none"):
        one_component("attack", library.CW)


def test_components_are_named_by_their_files_or_classes():
    own = dv.MaxSoftmax()
    found = named_components("detector", ["ENTROPY", own, lambda batch, classifier: 0, "KNN"])
    assert list(found) == ["entropy", "max_softmax", "function", "knn"]
    assert found["max_softmax"] is own
    assert list(named_components("attack", {"mine": dv.FGSM(0.1)})) == ["mine"]
    assert [snake_case(name) for name in ("PGD", "GradCAM", "PixelGrid", "TargetedAPGD", "MLLOO")] == [
        "pgd", "grad_cam", "pixel_grid", "targeted_apgd", "mlloo",
    ]  # fmt: skip
    for several, message in (
        ([], "attack must name at least one, got none."),
        ({}, "attack must name at least one, got none."),
        ([dv.FGSM(0.1), dv.FGSM(0.2)], "attack must have different names, got 'fgsm' twice. Name them: {'NAME': ...}."),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            named_components("attack", several)
