"""Figures of the source tree: lines by package, names with two meanings, words that docs/glossary.md replaces.

python checks/house.py            a row a figure
python checks/house.py --verbose  names each place
python checks/house.py --strict   exits with 1 if a name has two meanings, a replaced word is left, or a package is
                                  longer than its budget in pyproject.toml
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import sys
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10, where pytest brings it
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "dovision"
CONF = ROOT / "conf"
BESIDE = ("tests", "checks", "benchmarks")  # folders that have budgets, too
REPLACED = ("told", "tells?", "said", "lends?", "anew", "stranger", "exhibits?")  # docs/glossary.md
WORDS = re.compile(rf"\b({'|'.join(REPLACED)})\b|\bkept\b(?= (image|run)s?\b)", re.IGNORECASE)
QUESTION = re.compile(r"(What|How|Where|Whether|When|Who|Which|Why)\b")


def modules() -> list[Path]:
    """All modules of the package, in the order of their names."""
    return sorted(PACKAGE.rglob("*.py"))


def public_names() -> dict[str, list[str]]:
    """Where each public function, class and constant of a module is defined, by its name."""
    found = defaultdict(list)
    for path in modules():
        for node in ast.parse(path.read_text()).body:
            for name in _defined(node):
                if not name.startswith("_") and name not in ("log", "main"):
                    found[name].append(path.relative_to(PACKAGE).as_posix())
    return dict(found)


def homonyms() -> dict[str, list[str]]:
    """Public names that are defined in more than one module, and where."""
    return {name: places for name, places in public_names().items() if len(places) > 1}


def replaced_words() -> Iterator[tuple[str, int, str]]:
    """(file, line, word) of each replaced word in names, docstrings, comments, messages and configs."""
    for path in modules():
        before = ""
        for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
            own = token.type == tokenize.NAME and before != "."  # file.tell() is no name of this package
            before = token.string
            if own or token.type in (tokenize.STRING, tokenize.COMMENT):
                for match in WORDS.finditer(token.string.replace("_", " ")):
                    yield path.relative_to(ROOT).as_posix(), token.start[0], match[0]
    for path in sorted(CONF.rglob("*.yaml")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for match in WORDS.finditer(line):
                yield path.relative_to(ROOT).as_posix(), number, match[0]


def folder_sizes() -> Counter[str]:
    """Modules of each folder, without components: those of a catalogue grow by use, and conf/ lists them."""
    named = set(re.findall(r"\bdovision(?:\.\w+)+", "\n".join(path.read_text() for path in CONF.rglob("*.yaml"))))
    chosen = {name.rpartition(".")[0] for name in named}  # without the class
    own = (path.relative_to(PACKAGE) for path in modules() if path.name != "__init__.py")
    return Counter(path.parent.as_posix() for path in own if f"dovision.{_dotted(path)}" not in chosen)


def _dotted(path: Path) -> str:
    return ".".join(path.with_suffix("").parts)


def lines() -> Counter[str]:
    """Lines of each package, as `wc -l` counts, with single modules under "modules"; and of the folders beside src."""
    count = Counter({name: sum(map(_lines, (ROOT / name).rglob("*.py"))) for name in BESIDE})
    for path in modules():
        first, *rest = path.relative_to(PACKAGE).parts
        count[first if rest else "modules"] += _lines(path)
    return count


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def over_budget() -> dict[str, str]:
    """Packages that are longer than their budget, or have none."""
    budgets = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["house"]["lines"]
    over = {name: f"{count:,} of {budgets.get(name, 0):,}" for name, count in lines().items()}
    return {name: text for name, text in over.items() if lines()[name] > budgets.get(name, 0)}


def first_lines() -> dict[str, str]:
    """The first line of each module's docstring."""
    found = {}
    for path in modules():
        doc = ast.get_docstring(ast.parse(path.read_text())) or ""
        found[path.relative_to(PACKAGE).as_posix()] = doc.partition("\n")[0]
    return found


def questions() -> dict[str, str]:
    """First lines that begin with a question word or no capital, by module."""
    return {path: line for path, line in first_lines().items() if QUESTION.match(line) or not line[:1].isupper()}


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def main() -> None:
    """Print a row a figure."""
    parser = argparse.ArgumentParser(description="Figures of the source tree.")
    parser.add_argument("--verbose", action="store_true", help="name each place")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if anything is left")
    parser.add_argument("--quick", action="store_true", help="changes nothing; the other checks have it")
    asked_for = parser.parse_args()
    folders = folder_sizes()
    words, twice, asked, over = list(replaced_words()), homonyms(), questions(), over_budget()
    longest, count = folders.most_common(1)[0]
    print(f"lines under src: {sum(len(path.read_text().splitlines()) for path in modules())}")
    print(
        *(f"lines of {name}, over its budget: {text}" for name, text in over.items()), sep="\n", end="\n" * bool(over)
    )
    print(f"modules: {len(modules())}; at the top: {folders['.']}")
    print(f"longest folder, besides components: {longest}, {count}")
    print(f"public names with two meanings: {len(twice)}")
    print(f"replaced words: {len(words)}")
    print(f"modules whose first line asks: {len(asked)}")
    contracts = (ROOT / "pyproject.toml").read_text().count("[[tool.importlinter.contracts]]")
    print(f"contracts of import-linter: {contracts}")
    if asked_for.verbose:
        print(*(f"{name}: {', '.join(places)}" for name, places in sorted(twice.items())), sep="\n")
        print(*(f"{path}:{line}: {word}" for path, line, word in words), sep="\n")
        print(*(f"{path}: {line}" for path, line in asked.items()), sep="\n")
    sys.exit(int(asked_for.strict and bool(twice or words or asked or over)))


if __name__ == "__main__":
    main()
