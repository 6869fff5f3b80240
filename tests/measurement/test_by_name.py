"""Components of the notebook API by the names of their classes and of their yaml files."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

import dovision as dv
from dovision.config import component_names
from dovision.config.sources import HYDRA_DEFAULTS, configuration_folder
from dovision.measurement.by_name import named_components, snake_case

HOMES = component_names.component_homes() | component_names.metric_homes()
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
def test_every_component_and_metric_is_an_attribute(name):
    found = getattr(dv, name)
    assert found is getattr(import_module(f"dovision.{HOMES[name]}"), name)
    assert found.__module__ == f"dovision.{HOMES[name]}"
    assert name in dir(dv)


def test_what_is_no_name_is_an_attribute_error_as_of_any_module():
    with pytest.raises(AttributeError, match="module 'dovision' has no attribute 'PDG'"):
        dv.PDG  # noqa: B018
    with pytest.raises(AttributeError, match=r"'KernelSHAP'\. Write dv\.Captum\(\"KernelShap\"\)"):
        dv.KernelSHAP  # noqa: B018
    assert not hasattr(dv, "_private")
    assert {"metrics", "wrap", "PGD", "EffectEvaluation"} <= set(dir(dv))


def test_a_new_component_appears_without_a_list(tmp_path, monkeypatch):
    (tmp_path / "attack").mkdir()
    (tmp_path / "attack" / "new.yaml").write_text("_target_: dovision.attacks.none.NoAttack\n")
    monkeypatch.setattr(component_names, "configuration_folder", lambda: tmp_path)
    assert component_names.component_homes.__wrapped__() == {"NoAttack": "attacks.none"}


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


def test_components_are_named_by_their_files_or_classes():
    own = dv.MaxSoftmax()
    found = named_components("detector", ["entropy", own])
    assert list(found) == ["entropy", "max_softmax"]
    assert found["max_softmax"] is own
    assert list(named_components("attack", {"mine": dv.FGSM(0.1)})) == ["mine"]
    assert [snake_case(name) for name in ("PGD", "GradCAM", "PixelGrid", "TargetedAPGD", "MLLOO")] == [
        "pgd", "grad_cam", "pixel_grid", "targeted_apgd", "mlloo",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "attack must name at least one, got none."),
        ({}, "attack must name at least one, got none."),
        ([dv.FGSM(0.1), dv.FGSM(0.2)], "attack must have different names, got 'fgsm' twice. Name them: {'NAME': ...}."),
        (
            [dv.PixelGrid(2, 2)],
            "attack must be an attack, or the name of one, such as 'pgd', got an object of",
        ),
        (3, "attack must be an attack, or the name of one, such as 'pgd', got 3."),
    ],
)
def test_what_is_no_component_is_refused(given, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        named_components("attack", given)


def test_every_name_of_the_stub_exists():
    stub = Path(dv.__file__).with_suffix(".pyi").read_text()
    names = re.findall(r"^from dovision\.\S+ import (\w+) as \1$", stub, re.MULTILINE)
    assert sorted(names) == sorted(set(dir(dv)) & set(names))
    assert set(HOMES) <= set(names)
