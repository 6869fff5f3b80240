"""Every place that writes a file writes it aside, by dovision.io.atomic, or is listed here with the reason why not."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import dovision

PACKAGE = Path(dovision.__file__).parent
WRITERS = {  # what writes a file that it is given, or may
    *("write_text", "write_bytes", "touch", "symlink_to", "hardlink_to", "tofile", "savefig", "save", "savez"),
    *("savez_compressed", "savetxt", "open_memmap", "memmap", "dump", "to_csv", "to_parquet", "to_json", "to_pickle"),
    *("to_excel", "to_latex", "to_html", "ParquetWriter", "write_table", "FileHandler", "_LogFile", "SummaryWriter"),
    *(
        "save_image",
        "imsave",
        "copy2",
        "copyfile",
        "copytree",
        "save_checkpoint",
        "NamedTemporaryFile",
        "mkstemp",
        "urlretrieve",
    ),
}
OPENS = ("w", "a", "x", "+")  # in the mode of what is opened
FLAGS = ("O_WRONLY", "O_RDWR", "O_CREAT")
EXCEPTIONS = {  # file, what is called: why it need not write aside
    ("cli/train.py", "save_checkpoint"): "by io.sealed",
    ("evaluation/effects.py", "self.pictures.save"): "by io.atomic, see store/thumbnails.py",
    ("datasets/readers/nifti.py", "np.memmap"): "only read",
    ("training/checkpointing.py", "trainer.save_checkpoint"): "by io.sealed, see SealedIO",
    ("io/text_files.py", "yaml.dump"): "to memory",
    ("notebook/drawing.py", "figure.savefig"): "to memory",
    ("report/inline_assets.py", "picture.save"): "to memory",
    ("view/pictures.py", "figure.savefig"): "to memory",
    ("view/pictures.py", "Image.fromarray(values).save"): "to memory",
    ("store/tables.py", "self._file.write_table"): "by a writer to a file that is written aside",
    ("cli/session.py", "_LogFile"): "a log, that comes as it comes",
    ("cli/session.py", "os.fdopen"): "the same log",
    ("cli/scripts.py", "os.open"): "the null device",
}


def names_in(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def calls(node: ast.AST, aside: frozenset[str] = frozenset()) -> Iterator[tuple[ast.Call, frozenset[str]]]:
    """Each call below a node, with the names there of files that are written aside, and of those opened by them."""
    for child in ast.iter_child_nodes(node):
        inside = aside
        if isinstance(child, ast.With):
            for item in child.items:
                known = names_in(item.context_expr) & (inside | {"replacing"})
                if known and isinstance(item.optional_vars, ast.Name):
                    inside |= {item.optional_vars.id}
        if isinstance(child, ast.Call):
            yield child, inside
        yield from calls(child, inside)


def writes(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    given = [*call.args, *(each.value for each in call.keywords)]
    if name in ("open", "fdopen"):
        constants = [each.value for part in given for each in ast.walk(part) if isinstance(each, ast.Constant)]
        modes = [each for each in constants if isinstance(each, str)]
        flags = any(flag in ast.unparse(each) for flag in FLAGS for each in given)
        return flags or any(len(mode) <= 3 and sign in mode for mode in modes for sign in OPENS)
    method = isinstance(call.func, ast.Attribute)
    if name in ("write_text", "write_table", "save", "save_image") and not method:  # this package's own functions
        return False
    return name in WRITERS and (bool(call.args) or name == "touch")


def unsafe(tree: ast.AST) -> Iterator[ast.Call]:
    """Each call that may write a file that is not written aside."""
    return (call for call, aside in calls(tree) if writes(call) and not names_in(call) & aside)


@cache
def written() -> set[tuple[str, str]]:
    """(file, what is called) of each such call."""
    trees = {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")}
    return {(name, ast.unparse(call.func)) for name, tree in trees.items() for call in unsafe(tree)}


def test_each_is_listed():
    assert written() - EXCEPTIONS.keys() == set()


def test_no_exception_is_out_of_date():
    assert EXCEPTIONS.keys() - written() == set()


def test_a_plain_writer_is_found():
    plain = "def f(path, table):\n    table.to_csv(path)\n    path.open('w').write('')\n    path.write_text('')\n"
    aside = "def f(path):\n    with replacing(path) as part, part.open('w') as file:\n        torch.save(1, file)\n"
    assert [ast.unparse(call.func) for call in unsafe(ast.parse(plain))] == [
        *("table.to_csv", "path.open", "path.write_text")
    ]
    assert list(unsafe(ast.parse(aside))) == []
    assert list(unsafe(ast.parse(aside + "    torch.save(2, file)\n"))) != []
