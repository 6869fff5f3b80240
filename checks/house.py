"""Figures of the source tree: five counts that only fall, shape, names with two meanings.

python checks/house.py            a row a figure
python checks/house.py --verbose  names each place
python checks/house.py --strict   exits with 1 if a count is above its smallest value in the history of pyproject.toml,
                                  a name has two meanings, or the first line of a module asks
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import statistics
import subprocess
import sys
import tokenize
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10, where pytest brings it
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "dovision"
CONF = ROOT / "conf"
QUESTION = re.compile(r"(What|How|Where|Whether|When|Who|Which|Why)\b")
SHORT, SMALL, MANY = 3, 40, 8  # lines of a function that may be inlined, of a file that may be merged; arguments

# Identifiers that say nothing, besides the words of docs/glossary.md.
VAGUE = ("own", "found", "each", "known", "kind", "facts", "place", "asked", "parts", "plain", "told")
# Adjectives and participles that name no value: `chosen` of what?
WORDS = "asked chosen done drawn few first given kept last left made most named one other others rest seen shown taken"
ADJECTIVES = {*WORDS.split(), "wanted", "whole"}
# Packages in which an identifier has the sense that docs/glossary.md replaces; elsewhere its other sense is right.
SENSE = {
    "edit": "attacks datasets detectors interventions models explainers measurement results report",
    "layer": "interventions measurement results report",  # of any node; a layer of a network is one
    "group": "attacks detectors",  # of attacks; a config group and the group of an image are their names
    "before": "functional metrics",  # of an intervention; before a point in time is its name
    "after": "functional metrics",
}
INFLECTED = {"tell": "tells?", "say": "says?", "lends a hand": "lends?", "exhibit": "exhibits?"} | {
    "pass over": "pass(?:ed|ing) over",  # a pass over the images is a noun
    "kept images": "kept (?:image|run)s?",
    "take up": "(?:take[sn]?|taking|took) up(?! to)",
}


class Identifier(NamedTuple):
    """A name in the source, where it stands, and whether another package gives it."""

    name: str
    path: Path
    line: int
    foreign: bool


@cache
def modules() -> dict[Path, ast.Module]:
    """The syntax tree of each module of the package, in the order of their names."""
    return {path: ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def limits() -> dict[str, int]:
    """The counts of [tool.house] in pyproject.toml, each the smallest value of the history of that file."""
    text = (ROOT / "pyproject.toml").read_text()
    command = ["git", "-C", str(ROOT), "log", "--format=", "-p", "-U0", "-G^(src_lines|test_lines|yamls|words|adject)"]
    history = subprocess.run([*command, "--", "pyproject.toml"], capture_output=True, text=True).stdout
    return {
        name: min(int(value) for value in [count, *re.findall(rf"^\+{name} = (\d+)\b", history, re.MULTILINE)])
        for name, count in tomllib.loads(text)["tool"]["house"].items()
    }


# Words


@cache
def identifiers() -> list[Identifier]:
    """All names: variables (of comprehensions, too), arguments, keywords, attributes, functions, classes, imports."""
    return [
        Identifier(name, path, getattr(node, "lineno", 0), _is_foreign(node, field))
        for path, tree in modules().items()
        for node in ast.walk(tree)
        for field, value in ast.iter_fields(node)
        if field in ("id", "attr", "arg", "name", "asname", "names", "rest")
        for name in (
            [value] if isinstance(value, str) else value if isinstance(node, ast.Global | ast.Nonlocal) else []
        )
    ]


def _is_foreign(node: ast.AST, field: str) -> bool:
    """True for a name that torch, NumPy or the standard library gives, and of which we write no definition."""
    if isinstance(node, ast.Attribute):  # dtype.kind, parameter.kind, file.tell()
        owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
        return (node.attr == "kind" and owner in ("dtype", "parameter")) or node.attr in ("tell", "world_size")
    if isinstance(node, ast.keyword):  # sort_values(kind="stable")
        return node.arg == "kind" and isinstance(node.value, ast.Constant) and node.value.value == "stable"
    return False


@cache
def texts() -> list[tuple[Path, int, str]]:
    """(file, line, text) of all docstrings, messages and comments of the package, and of all lines of conf/."""
    lines = []
    for path, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                lines += [(path, node.lineno + row, line) for row, line in enumerate(node.value.split("\n"))]
        tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
        lines += [(path, token.start[0], token.string) for token in tokens if token.type == tokenize.COMMENT]
    for path in sorted(CONF.rglob("*.yaml")):
        lines += [(path, number, line) for number, line in enumerate(path.read_text().splitlines(), 1)]
    return lines


def replaced() -> tuple[list[str], list[str]]:
    """Words of the right column of docs/glossary.md: not to be used at all; and, with (remark), not as identifiers."""
    rows = re.findall(r"^\|.*\|.*\|(.*)\|$", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE)
    words = {word.strip() for row in rows for word in re.findall(r"[^,(]+(?:\([^)]*\))?", row)} - {"", "not", "---"}
    names = {word.partition(" (")[0] for word in words if "(" in word}
    return sorted(word for word in words if "(" not in word and word not in names), sorted(names)


@cache
def words() -> dict[str, list[str]]:
    """The places of each word that the glossary replaces, and of each identifier that says nothing."""
    banned, names = replaced()
    places: dict[str, list[str]] = {}
    for word in dict.fromkeys([*VAGUE, *names]):
        packages = SENSE.get(word, "").split()
        places[word] = [
            f"{each.path.relative_to(ROOT)}:{each.line}: {each.name}"
            for each in identifiers()
            if each.name.strip("_").lower() == word and not each.foreign
            if not packages or each.path.relative_to(PACKAGE).parts[0] in packages
        ]
    everything = [
        *((each.path, each.line, each.name.replace("_", " ")) for each in identifiers() if not each.foreign),
        *texts(),
    ]
    for word in banned:
        pattern = re.compile(rf"\b{INFLECTED.get(word, re.escape(word))}\b(?!_)", re.IGNORECASE)
        hits = [(path, line) for path, line, text in everything for _ in pattern.finditer(text)]
        places[word] = places.get(word, []) + [f"{path.relative_to(ROOT)}:{line}: {word}" for path, line in hits]
    return places


def adjectives() -> list[str]:
    """Variables, arguments and attributes that are set and whose name is an adjective or a participle."""
    return [
        f"{short(path)}:{node.lineno}: {name}"
        for path, tree in modules().items()
        for node in ast.walk(tree)
        for name in (
            [node.id]
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
            else [node.arg]
            if isinstance(node, ast.arg)
            else [node.attr]
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
            else []
        )
        if name.strip("_") in ADJECTIVES
    ]


# Counts


@cache
def counts() -> dict[str, int]:
    """Lines of src and of tests, files of conf/, places of replaced words, adjectives as names."""
    return {
        "src_lines": sum(map(_lines, modules())),
        "test_lines": sum(map(_lines, (ROOT / "tests").rglob("*.py"))),
        "yamls": len(list(CONF.rglob("*.yaml"))),
        "words": sum(map(len, words().values())),
        "adjectives": len(adjectives()),
    }


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def code_lines(path: Path) -> set[int]:
    """Lines of a module that are neither blank, nor comment, nor docstring."""
    skipped = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    code = {line for token in tokens if token.type not in skipped for line in range(token.start[0], token.end[0] + 1)}
    for node in ast.walk(modules()[path]):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            code -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return code


# Shape


@cache
def functions() -> list[tuple[str, ast.FunctionDef, int]]:
    """(place, syntax tree, lines of code below its head) of each function and method."""
    rows = []
    for path, tree in modules().items():
        code = code_lines(path)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                body = range(node.body[0].lineno, (node.end_lineno or 0) + 1)
                rows.append((f"{short(path)}: {node.name}", node, len(code & set(body))))
    return rows


def many_arguments() -> list[str]:
    """Functions and methods that take more than `MANY` arguments, without self."""
    rows = []
    for place, node, _ in functions():
        names = {name.arg for name in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]} - {"self"}
        rows += [f"{place}, {len(names)}"] if len(names) > MANY else []
    return rows


def short_and_called_once() -> list[str]:
    """Functions of up to `SHORT` lines of code, without a decorator, that src names once besides their definition."""
    count = Counter(
        each.name for each in identifiers() if not each.name.startswith("__")
    )  # the definition itself is one of them
    for _, _, text in texts():  # _target_ of a config, a name that is looked up
        count.update(re.findall(r"\w+", text) if re.fullmatch(r"[\w.: ]*", text) else [])
    return [
        place
        for place, node, length in functions()
        if length <= SHORT and not node.decorator_list and count[node.name] == 2 and not node.name.startswith("__")
    ]


def with_one_importer() -> dict[Path, Path]:
    """The importer of each module that one other imports, and no config or text names."""
    importers = defaultdict(set)
    for path, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dovision"):
                for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                    importers[name].add(path)
    named = " ".join(text for _, _, text in texts())  # configs, and modules that are imported late
    homes = {path: f"dovision.{_dotted(path)}" for path in modules() if path.name != "__init__.py"}
    return {
        path: next(iter(importers[home]))
        for path, home in homes.items()
        if len(importers[home]) == 1 and not re.search(rf"{re.escape(home)}\b", named)
    }


def short(path: Path) -> str:
    """The path of a module below the package."""
    return path.relative_to(PACKAGE).as_posix()


def _dotted(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


# Names and first lines


def homonyms() -> dict[str, list[str]]:
    """Public names that are defined in more than one module, and where, but those that stand in for captum's."""
    homes = defaultdict(list)
    for path, tree in modules().items():
        if short(path) == "captum.py":
            continue
        for name in (name for node in tree.body for name in _defined(node)):
            if not name.startswith("_") and name not in ("log", "main"):
                homes[name].append(short(path))
    return {name: paths for name, paths in homes.items() if len(paths) > 1}


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def questions() -> dict[str, str]:
    """First lines of modules that begin with a question word or no capital, by module."""
    heads = {path: (ast.get_docstring(tree) or "").partition("\n")[0] for path, tree in modules().items()}
    return {short(path): line for path, line in heads.items() if QUESTION.match(line) or not line[:1].isupper()}


def main() -> None:
    """Print a row a figure."""
    parser = argparse.ArgumentParser(description="Figures of the source tree.")
    parser.add_argument("--verbose", action="store_true", help="name each place")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if anything is over its budget")
    parser.add_argument("--quick", action="store_true", help="changes nothing; the other checks have it")
    options = parser.parse_args()
    lengths = [length for _, _, length in functions()]
    code = sum(len(code_lines(path)) for path in modules())
    print(f"modules: {len(modules())}; functions: {len(lengths):,}; lines of code in one, median:", end=" ")
    print(f"{statistics.median(lengths):g}, in all {code:,}")
    print("words:", ", ".join(f"{word} {len(places)}" for word, places in words().items() if places))
    for name, count in counts().items():
        print(f"{name}: {count:,} of {limits()[name]:,}")
    listed: dict[str, Any] = {
        f"functions with more than {MANY} arguments": many_arguments(),
        f"functions of up to {SHORT} lines that are called once": short_and_called_once(),
        "files with one importer": [f"{short(path)}, by {short(one)}" for path, one in with_one_importer().items()],
        f"files below {SMALL} lines with one importer": [
            short(path) for path in with_one_importer() if _lines(path) < SMALL
        ],
    }
    wrong: dict[str, Any] = {
        "counts above their limit": [
            f"{name}: {count:,} of {limits()[name]:,}" for name, count in counts().items() if count > limits()[name]
        ],
        "public names with two meanings": [f"{name}: {', '.join(paths)}" for name, paths in homonyms().items()],
        "modules whose first line asks": [f"{path}: {line}" for path, line in questions().items()],
    }
    for title, rows in (listed | wrong).items():
        print(f"{title}: {len(rows)}")
        if options.verbose or title in wrong:
            print(*(f"  {row}\n" for row in rows), sep="", end="")
    if options.verbose:
        print(*(f"{place}\n" for places in [*words().values(), adjectives()] for place in places), sep="", end="")
    sys.exit(int(options.strict and any(wrong.values())))


if __name__ == "__main__":
    main()
