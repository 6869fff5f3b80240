"""Files by which the project is found, joined and released: they agree with each other and with the Makefile."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = (ROOT / "pyproject.toml").read_text()


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
