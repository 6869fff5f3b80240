"""Help of a component, read from its yaml."""

from __future__ import annotations

import subprocess
import sys

import pytest
import yaml

from dovision.cli import scripts
from dovision.cli.component_help import component_help
from dovision.config.sources import configuration_folder, leaves

COMPONENTS = sorted(configuration_folder().glob("*/*.yaml"))
PGD = """attack=pgd: PGD: several steps up the loss from random starts, the best of them kept for each image.
  loss@attack.loss=task_loss  what is raised; another one: loss@attack.loss=margin
  attack.eps=[8/255]          pixel units, [0, 1]; one or a list, numbers or fractions
"""


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")


def test_keys_have_their_defaults_and_comments():
    assert component_help(["attack=pgd", "--help"]).startswith(PGD)


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda path: f"{path.parent.name}={path.stem}")
def test_every_key_of_every_component_is_listed(path):
    text = component_help([f"{path.parent.name}={path.stem}"])
    content = yaml.safe_load(path.read_text())
    keys = {name for name, _ in leaves(content) if not name.startswith(("defaults", "_target_"))}
    for key in keys:
        words = key.split(".")
        own = [".".join(words[:number]) for number in range(1, len(words) + 1)]  # a list or {...} is one key
        assert any(f"{name}=" in text for name in own) or words[-1] == "_partial_", key


def test_several_components_are_described_where_they_stand():
    text = component_help(["-m", "attack=fgsm,pgd", "detector=[odin]", "+attack@detection.attacks.first=pgd", "seed=1"])
    heads = [line.partition(": ")[0] for line in text.splitlines() if line and not line.startswith(" ")]
    assert heads == ["attack=fgsm", "attack=pgd", "detector=odin", "attack@detection.attacks.first=pgd"]
    assert "\n  detection.attacks.first.steps=20 " in text
    assert "loss@detection.attacks.first.loss=task_loss" in text
    assert "\n  detector.odin.temperatures=" in text


def test_a_component_of_a_users_folder_comes_first(tmp_path):
    (tmp_path / "attack").mkdir()
    own = (
        "# My attack.\n_target_: mine.Attack\n# how bold\nnerve: 3\nnested:\n  deep: [1,\n    2] # both\nlist:\n  - 1\n"
    )
    (tmp_path / "attack" / "pgd.yaml").write_text(own)
    for option in (["--config-dir", str(tmp_path)], [f"--config-dir={tmp_path}"]):
        assert component_help(["attack=pgd", *option]) == (
            "attack=pgd: My attack.\n"
            "  attack.nerve=3             how bold\n"
            "  attack.nested.deep=[1, 2]  both\n"
            "  attack.list=[1]\n"
        )


@pytest.mark.parametrize("words", [[], ["seed=1"], ["evaluation.images=5"], ["autoencoder=null"], ["nowhere=pgd"]])
def test_arguments_that_choose_no_component_have_no_help_of_their_own(words):
    assert component_help(words) == ""


def test_a_component_that_does_not_exist_is_told_in_a_sentence(run_command, capsys):
    assert run_command(scripts.evaluate, "attack=pdg", "--help") == 1
    assert "attack has no component 'pdg'. Did you mean pgd?" in capsys.readouterr().err


@pytest.mark.slow
def test_it_waits_for_no_torch():
    script = (
        "import sys\nfrom dovision.cli.scripts import evaluate\nsys.argv = ['dovision-evaluate', 'attack=pgd', '-h']\n"
        "evaluate()\nprint(*{each.partition('.')[0] for each in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(PGD)
    assert not {"torch", "pytorch_lightning", "pandas"} & set(done.stderr.split())
