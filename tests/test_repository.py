"""Files by which the project is found, joined and released: they agree with each other and with the Makefile."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = (ROOT / "pyproject.toml").read_text()
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_runs_what_there_is(path):
    text = path.read_text()
    jobs = yaml.safe_load(text)["jobs"]
    assert all({"runs-on", "timeout-minutes", "steps"} <= job.keys() for job in jobs.values())
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"run: make ([a-z-]+)", text)) <= targets
    extras = set(re.findall(r"^([a-z-]+) = \[", PYPROJECT, re.M))
    assert set(re.findall(r"--editable '\.\[([a-z-]+)\]'", text)) <= extras


def test_every_extra_is_in_the_table_of_the_page_on_installing():
    section = PYPROJECT.partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]
    extras = re.findall(r"^([a-z\d-]+) = \[", section, re.M)
    table = re.findall(r"^\| (`.+) \| .+ \|$", (ROOT / "docs" / "install.md").read_text(), re.M)
    assert sorted(re.findall(r"`([\w-]+)`", " ".join(table))) == sorted(extras)


@pytest.mark.parametrize("name", ["my photo.jpg", "Anna's cat, [1] = x.jpg"])
def test_a_photo_may_have_any_name(name):
    words = ["make", "--dry-run", "--always-make", "photo", f"PHOTO={name}"]
    lines = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    (line,) = [line for line in lines if "dovision-evaluate" in line]
    override = OverridesParser.create().parse_override(shlex.split(line)[-1])
    assert override.value() == name
