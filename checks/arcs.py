"""Tests that add no arc: each line and branch of a package that they take is taken by another test too.

python checks/arcs.py functional                  the tests of tests/functional, by the arcs of src/dovision/functional
python checks/arcs.py jobs -- -m "not slow"       the same, with arguments for pytest

Needs coverage (`pip install coverage`). Tests are dropped one by one, the one with the fewest arcs first, as long as
every arc stays. What is printed is a candidate, to be read before it goes: an answer known by hand, a library or a
property is worth its lines without an arc of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

Arc = tuple[str, int, int]


def arcs_by_test(package: str, arguments: list[str], folder: Path) -> dict[str, set[Arc]]:
    """Arcs of a package that each of its tests takes; parameters of one function are one test."""
    from coverage import CoverageData

    settings = folder / "coveragerc"
    source = ROOT / "src" / "dovision" / package
    settings.write_text(
        f"[run]\nbranch = True\nsource = {source}\ndata_file = {folder / 'data'}\ndynamic_context = test_function\n"
    )
    tests = [str(path) for path in (ROOT / "tests" / package, *ROOT.glob(f"tests/test_{package}.py")) if path.exists()]
    command = [sys.executable, "-m", "coverage", "run", f"--rcfile={settings}", "-m", "pytest", "-q", "-p", "no:xdist"]
    subprocess.run([*command, "-p", "no:cacheprovider", *tests, *arguments], cwd=ROOT, check=False, stdout=sys.stderr)
    data = CoverageData(str(folder / "data"))
    data.read()
    arcs: dict[str, set[Arc]] = {}
    for context in data.measured_contexts() - {""}:
        data.set_query_context(context)
        arcs[context] = {(path, *arc) for path in data.measured_files() for arc in data.arcs(path) or ()}
    return arcs


def superfluous(arcs: dict[str, set[Arc]]) -> list[str]:
    """Tests whose arcs the other tests take, those with the fewest arcs first."""
    counts = Counter(arc for taken in arcs.values() for arc in taken)
    tests = []
    for test, taken in sorted(arcs.items(), key=lambda item: len(item[1])):
        if all(counts[arc] > 1 for arc in taken):
            counts.subtract(taken)
            tests.append(test)
    return tests


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package")
    parser.add_argument("arguments", nargs="*", help="of pytest, after --")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        arcs = arcs_by_test(options.package, options.arguments, Path(folder))
    tests = superfluous(arcs)
    for test in tests:
        print(f"{len(arcs[test]):6} {test}")
    print(f"{len(arcs)} tests, {len(set().union(*arcs.values()))} arcs, {len(tests)} tests add none")


if __name__ == "__main__":
    main()
