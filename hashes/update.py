"""Write the hashes of all files of the pinned packages: `make hashes`, after constraints.txt was changed.

base.txt has what the package itself needs, docs.txt what its site alone needs, dev.txt the rest. The
files of a release do not change: the same pins give the same hashes.
"""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).parent
MARKER = 'python_version >= "3.11"'  # as in constraints.txt
HEAD = "# {}, with the hashes of their files; made from constraints.txt by `make hashes`, and installed by make.\n"


def pins() -> dict[str, str]:
    """name==version of each package of constraints.txt, by its normalised name."""
    lines = (HERE.parent / "constraints.txt").read_text().splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(each.name): f"{each.name}{each.specifier}" for each in found}


def needed(package: str, extra: str = "") -> set[str]:
    """The normalised names of all packages that an installed one needs on this machine, with one of its extras."""
    seen, waiting = {(package, extra)}, [(package, extra)]
    while waiting:
        name, extra = waiting.pop()
        for need in map(Requirement, distribution(name).requires or ()):
            if need.marker is None or need.marker.evaluate({"extra": extra}):
                found = {(canonicalize_name(need.name), each) for each in ("", *need.extras)} - seen
                seen |= found
                waiting += found
    return {name for name, _ in seen}


def hashed(packages: list[str]) -> str:
    """The packages as requirements with the hashes of all their files, as the index says."""
    command = "uv pip compile - --generate-hashes --no-deps --no-header --no-annotate --universal --python-version 3.11"
    done = subprocess.run(
        [sys.executable, "-m", *command.split()], input="\n".join(packages), capture_output=True, text=True, check=True
    )
    return re.sub(r"^(\S+==\S+)( \\)$", rf"\1 ; {MARKER}\2", done.stdout, flags=re.MULTILINE)


def main() -> None:
    pinned, base = pins(), needed("dovision")
    docs, dev = needed("dovision", "docs") - base, needed("dovision", "dev") - base
    for file, title, names in (
        ("base.txt", "What dovision needs", base),
        ("docs.txt", "What its site alone needs", docs - dev),
        ("dev.txt", "What its tests and checks need besides", pinned.keys() - base - (docs - dev)),
    ):
        packages = [pin for name, pin in pinned.items() if name in names]
        (HERE / file).write_text(HEAD.format(title) + hashed(packages))


if __name__ == "__main__":
    main()
