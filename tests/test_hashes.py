"""What make installs is what constraints.txt pins, each package with the hashes of its files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
BY_MACHINE = {"torch", "torchvision"}  # whose builds differ, and are not pinned


def hashed(name: str) -> dict[str, tuple[Requirement, list[str]]]:
    """Each requirement of a file of hashes, with its hashes."""
    text = (ROOT / "hashes" / name).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found = {}
    for line in lines:
        requirement, *hashes = line.split(" --hash=sha256:")
        parsed = Requirement(requirement.strip())
        found[canonicalize_name(parsed.name)] = parsed, [each.strip() for each in hashes]
    assert len(found) == len(lines)
    return found


BASE, DEV, DOCS = hashed("base.txt"), hashed("dev.txt"), hashed("docs.txt")
ALL = {**BASE, **DEV, **DOCS}


def pins() -> dict[str, Requirement]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(each.name): each for each in found}


def test_each_pin_has_its_hashes_once():
    assert len(ALL) == len(BASE) + len(DEV) + len(DOCS)
    pinned = pins()
    assert ALL.keys() == pinned.keys()
    for name, (requirement, hashes) in ALL.items():
        assert str(requirement.specifier) == str(pinned[name].specifier), f"{name}: run make hashes"
        assert str(requirement.marker) == str(pinned[name].marker)
        assert hashes
        assert all(re.fullmatch("[0-9a-f]{64}", each) for each in hashes)


def test_all_that_the_package_and_its_tests_ask_for_is_pinned():
    text = (ROOT / "pyproject.toml").read_text()
    own = text[text.index("dependencies = [") : text.index("]", text.index("dependencies = ["))]
    dev = text[text.index("\ndev = [") : text.index("\n]", text.index("\ndev = ["))]
    for part, known in ((own, BASE), (dev, {**BASE, **DEV})):
        names = {canonicalize_name(Requirement(each).name) for each in re.findall(r'^    "([^"]+)",$', part, re.M)}
        assert len(names) > 15
        assert names - BY_MACHINE - known.keys() == set()
    (docs,) = re.findall(r"^docs = \[(.*)\]", text, re.M)
    assert {canonicalize_name(Requirement(each).name) for each in re.findall(r'"([^"]+)"', docs)} <= ALL.keys()


@pytest.mark.parametrize("file", ["base.txt", "dev.txt", "docs.txt"])
def test_make_installs_them_by_their_hashes(file):
    makefile = (ROOT / "Makefile").read_text()
    assert f"\t@$(HASHED) hashes/{file}\n" in makefile
    assert re.search(r"^HASHED := .*--no-deps --require-hashes ", makefile, re.M)
