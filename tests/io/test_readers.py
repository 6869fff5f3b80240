"""What may run code, or never end, is opened by dovision.io alone."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import dovision

PACKAGE = Path(dovision.__file__).parent


@pytest.mark.parametrize(
    "name", ["np.load", "torch.load", "Image.open", "yaml.load", "yaml.safe_load", "pickle.load", "pickle.loads"]
)
def test_what_may_run_code_or_never_end_is_named_nowhere_else(name):
    known = {
        "np.load": {"interventions/values.py"},
        "torch.load": {"io/sealed.py"},
        "Image.open": {"io/images.py"},
        "yaml.load": {"io/text_files.py"},
    }
    known["pickle.loads"] = {"io/forks.py"}  # of what its copies have pickled
    trees = {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")}
    named = {
        (file, ast.unparse(node))
        for file, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
    }
    assert {file for file, function in named if function == name} == known.get(name, set())
