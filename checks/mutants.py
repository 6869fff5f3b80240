"""Mutants: single changes of the source, and the share of them that a test of their package notices.

python checks/mutants.py                                       50 mutants of each of four packages
python checks/mutants.py jobs --tree ../other -m "not long"    of another checkout, with arguments for pytest

Needs coverage (`pip install coverage`). A mutant flips a comparison, an operator or a condition, adds one to a number,
returns None or drops a statement, in a copy of the tree. The tests of the package's folder that reach its line run
until one fails, the quickest first, for at most SECONDS; a hang counts as caught. Read the survivors that are printed:
a change of a number needs a test, one without a consequence (the size of a chunk) does not.
"""

import argparse
import ast
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from coverage import Coverage

IMPORTED = ("torchvision", "pytorch_lightning", "captum.attr", "hydra", "matplotlib.pyplot", "pandas", "hypothesis")
SECONDS, PATIENCE = 60.0, 300  # of tests for a mutant, as the unchanged tree took; longer by the clock is a hang
PAIRS = [("Lt", "LtE"), ("Gt", "GtE"), ("Eq", "NotEq"), ("Is", "IsNot"), ("In", "NotIn"), ("And", "Or"), ("Add", "Sub")]
FLIPPED = {getattr(ast, old): getattr(ast, new) for pair in PAIRS for old, new in (pair, pair[::-1])}


class Plugin:
    """Runs some tests, in their order; or all tests of a package, and writes which reach a line and their seconds."""

    def __init__(self, package, tests=()):
        source = [f"src/dovision/{package}"]
        self.coverage, self.tests, self.seconds = Coverage(source=source, data_file=None), list(tests), {}
        if not tests:
            self.coverage.start()

    def pytest_collection_modifyitems(self, items):
        if self.tests:
            items[:] = sorted((i for i in items if i.nodeid in self.tests), key=lambda i: self.tests.index(i.nodeid))

    def pytest_runtest_logstart(self, nodeid):
        self.tests or self.coverage.switch_context(nodeid.partition("::")[0])  # a fixture's, for all tests of the file

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item):
        self.tests or self.coverage.switch_context(item.nodeid)

    def pytest_runtest_logreport(self, report):
        if report.when == "call" and report.passed:
            self.seconds[report.nodeid] = report.duration

    def pytest_unconfigure(self):
        if not self.tests:
            self.coverage.stop()
            data = self.coverage.get_data()
            lines = {path: data.contexts_by_lineno(path) for path in data.measured_files()}
            Path("mutants.json").write_text(json.dumps([lines, self.seconds]))


def forked(tree, patience, words, *arguments):
    """The exit code of pytest with the plugin, in a fork of this process; negative after too many seconds."""
    if not (pid := os.fork()):
        os.setsid()
        signal.alarm(patience)
        os.chdir(tree)
        os.dup2(os.open("mutants.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        os.dup2(1, 2)
        sys.path.insert(0, str(tree / "src"))
        os.environ.update(PYTHONPATH=f"{tree / 'src'}{os.pathsep}{tree}", OMP_NUM_THREADS="1", CI="true")
        os._exit(pytest.main(["-q", "-p", "no:xdist", "-p", "no:cacheprovider", *words], [Plugin(*arguments)]))
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.system(f"kill -9 -- -{pid} 2>/dev/null")  # what it has started
    return code


def changes(node, start=0):
    """(line of its statement, node, node in its place) of all changes below a node."""
    start = node.lineno if isinstance(node, ast.stmt) else start
    match node:
        case ast.Compare(left, [op, *ops], values) if type(op) in FLIPPED:
            yield start, node, ast.Compare(left, [FLIPPED[type(op)](), *ops], values)
        case ast.BinOp(left, op, right) if type(op) in FLIPPED:
            yield start, node, ast.BinOp(left, FLIPPED[type(op)](), right)
        case ast.BoolOp(op, values):
            yield start, node, ast.BoolOp(FLIPPED[type(op)](), values)
        case ast.Constant(value) if type(value) in (int, float):
            yield start, node, ast.Constant(value + 1)
        case ast.If(test) | ast.IfExp(test) | ast.While(test):
            yield start, test, ast.UnaryOp(ast.Not(), test)
        case ast.Return(ast.expr()):
            yield start, node, ast.Return()
        case ast.AugAssign() | ast.Raise() | ast.Expr(ast.Call()):
            yield start, node, ast.Pass()
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.JoinedStr):
            yield from changes(child, start)


def campaign(tree, package, count, seed, words):
    """Print what survives of so many mutants that a test reaches, and how many are caught."""
    forked(tree, 0, [f"tests/{package}", *words], package)
    (lines, seconds), outcomes = json.loads((tree / "mutants.json").read_text()), Counter()
    paths = sorted((tree / "src" / "dovision" / package).rglob("*.py"))
    points = [(path, *change) for path in paths for change in changes(ast.parse(path.read_text()))]
    for path, start, node, new in random.Random(package + seed).sample(points, len(points)):
        contexts = lines.get(str(path), {})
        names = {name for line in range(start, node.lineno + 1) for name in contexts.get(str(line), ())}
        names = {name for line in contexts.values() for name in line} if names == {""} else names  # when it is imported
        tests = sorted((test for test in seconds if names & {test, test.partition("::")[0]}), key=seconds.get)
        while len(tests) > 1 and sum(map(seconds.get, tests)) > SECONDS:
            tests.pop()
        if not tests:
            outcomes["not reached"] += 1
            continue
        source, text = path.read_text(), ast.unparse(new) if isinstance(new, ast.stmt) else f"({ast.unparse(new)})"
        rows = source.encode().splitlines(keepends=True)
        head, tail = rows[node.lineno - 1][: node.col_offset], rows[node.end_lineno - 1][node.end_col_offset :]
        rows[node.lineno - 1 : node.end_lineno] = [head + text.encode() + tail]
        path.write_bytes(b"".join(rows))
        code = forked(tree, PATIENCE, ["-x", *{test.partition("::")[0] for test in tests}], package, tests)
        path.write_text(source)
        outcomes["caught" if code else "survived"] += 1
        if not code:
            print(f"{path.relative_to(tree)}:{node.lineno}: {ast.unparse(node)} -> {text}", flush=True)
        if outcomes.total() - outcomes["not reached"] == count:
            break
    print(package, dict(outcomes), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", nargs="*", default=["functional", "propagation", "measurement", "jobs"])
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", default="", help="for other mutants")
    parser.add_argument("--tree", type=Path, default=Path(__file__).parents[1])
    options, words = parser.parse_known_args()
    for name in IMPORTED:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder).resolve() / "tree"
        shutil.copytree(options.tree, tree, ignore=shutil.ignore_patterns(".*", "outputs", "_build"))
        for package in options.packages:
            campaign(tree, package, options.count, options.seed, words)
