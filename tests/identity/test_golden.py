"""Numbers and defaults that MEASUREMENT stands for: who changes one raises it, and records them again.

python -m tests.identity.test_golden    records them, with the present MEASUREMENT
"""

import json
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

import dovision as dv
from dovision.config.sources import configuration_folder, leaves
from dovision.identity.code import MEASUREMENT

GOLDEN = Path(__file__).with_name("golden.json")
ATTACKS = ("fgsm", "pgd", "mifgsm", "square", "random_sign")
OTHERS = ("hydra", "debug", "logger", "local", "paths", "experiment", "report", "view", "figure")
EXPLAINERS = ("grad_cam", "integrated_gradients", "occlusion", "rise")


def numbers() -> dict[str, float]:
    """Numbers of each default on a network with drawn weights, which no processor changes beyond rounding."""
    torch.manual_seed(0)
    pooled = (torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten(), torch.nn.Linear(16, 3))
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), *pooled).eval()
    classifier = dv.wrap(network, ["a", "b", "c"], mean=[0.5], std=[0.5])
    images = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    maps = {name: dv.explain(classifier, images, name, progress=False).maps[name] for name in EXPLAINERS}
    attacks = {name: dv.attack(classifier, images, name, eps=0.1, progress=False) for name in ATTACKS}
    attacked = {name: result.images() for name, result in attacks.items()}
    values = {
        "probability": classifier(images).softmax(1),
        "effect map": dv.effect_map(classifier, images[0], progress=False).map,
        **maps,
        **attacked,
    }
    return {
        name: float(torch.as_tensor(value).detach().double().square().mean().sqrt()) for name, value in values.items()
    }


def defaults() -> dict[str, object]:
    """Values of all yamls that a measurement can depend on, by place."""
    folder = configuration_folder()
    paths = [path.relative_to(folder).with_suffix("") for path in sorted(folder.rglob("*.yaml"))]
    files = {path.as_posix(): folder / f"{path}.yaml" for path in paths if path.parts[0] not in OTHERS}
    plain = {name: OmegaConf.to_container(OmegaConf.load(path)) for name, path in files.items()}
    values = {f"{name}: {key}": value for name, content in plain.items() for key, value in leaves(content)}
    return {key: value for key, value in values.items() if ": hydra." not in key and ": defaults" not in key}


@pytest.mark.slow
def test_numbers_of_defaults_change_with_the_measurement_alone():
    golden = json.loads(GOLDEN.read_text())
    assert golden["measurement"] == MEASUREMENT
    assert numbers() == pytest.approx(golden["numbers"], rel=1e-4)


def test_a_default_changes_with_the_measurement_alone():
    golden, now = json.loads(GOLDEN.read_text())["defaults"], defaults()
    assert {name: now[name] for name in golden if name in now} == {n: v for n, v in golden.items() if n in now}


if __name__ == "__main__":
    recorded = {"measurement": MEASUREMENT, "numbers": numbers(), "defaults": defaults()}
    GOLDEN.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")
