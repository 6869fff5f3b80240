from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from dovision.config.errors import configuration_folder

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
LINES = re.findall(r"^    (dovision-.*)", README.replace("\\\n", ""), re.MULTILINE)
COMMANDS = [shlex.split(line, comments=True) for line in LINES]
EXPERIMENTS = [["dovision-evaluate", *shlex.split(words)] for words in re.findall(r"`(experiment=[^`]+)`", README)]
RUN = [
    command for command in COMMANDS if "dataset=digits" in command and "hydra/launcher=submitit_slurm" not in command
]


def first(override: Override) -> str:
    """The override of the first job of a sweep."""
    value = (
        next(override.sweep_string_iterator()) if override.is_sweep_override() else override.get_value_element_as_str()
    )
    return f"{override.input_line.partition('=')[0]}={value}"


@pytest.mark.slow
def test_the_notebook_example_runs():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    exec(code, names)
    assert names["found"].map.shape == (1, 224, 224)


@pytest.mark.parametrize("command", COMMANDS + EXPERIMENTS, ids=" ".join)
def test_every_command_composes(command):
    name, *words = command
    overrides = OverridesParser.create().parse_overrides([word for word in words if word != "-m"])
    launchers = {item.value() for item in overrides if item.key_or_group == "hydra/launcher"}
    assert launchers <= {path.stem for path in (ROOT / "conf" / "hydra" / "launcher").glob("*.yaml")}
    asked = [first(item) for item in overrides if not item.key_or_group.startswith("hydra")]
    with initialize_config_dir(str(configuration_folder()), version_base="1.3"):
        assert compose(name.removeprefix("dovision-"), asked)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_dry_run")
@pytest.mark.parametrize("command", RUN, ids=" ".join)
def test_what_is_told_of_the_digits_is_planned_by_the_command(command, dovision_evaluate, tmp_path, capsys):
    pytest.importorskip("timm")
    assert command[0] == "dovision-evaluate"
    words = [word for word in command[1:] if word != "-m" and not word.startswith("hydra")]
    several = ["-m"] * ("-m" in command)
    assert dovision_evaluate(*words, "dry_run=true", f"output_root={tmp_path}", *several) == 0
    assert "job" in capsys.readouterr().out


def test_every_make_target_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^    )make ([a-z-]+)", README, re.MULTILINE))
    assert {"demo", "test", "figures", "bench"} <= named <= targets


@pytest.mark.parametrize("page", ["README.md", "SECURITY.md", "docs/glossary.md", "docs/extend/README.md"])
def test_every_file_of_the_project_that_is_named_exists(page):
    named = set(re.findall(r"\b(?:src|tests|conf|checks|benchmarks|docs)/[\w/.-]+\.\w+", (ROOT / page).read_text()))
    assert {path for path in named if not (ROOT / path).is_file()} == set()


def test_every_file_that_is_linked_exists():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []
