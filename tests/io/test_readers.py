"""Every place that opens a file goes through dovision.io, or is listed here with the reason why it need not."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import dovision

PACKAGE = Path(dovision.__file__).parent
OPENERS = {  # what opens a file by its name
    *("open", "read_bytes", "read_text", "fromfile", "memmap", "open_memmap", "genfromtxt", "loadtxt"),
    *("read_csv", "read_parquet", "read_json", "read_pickle", "read_table", "read_excel", "read_image", "imread"),
    *("ParquetFile", "ZipFile", "GzipFile", "load", "urlopen"),
}
WRITES = {"w", "wb", "ab", "x", "xb", "w+b", "a"}
EXCEPTIONS = {  # file, what is called: why it need not go through dovision.io
    ("cli/scripts.py", "os.open"): "the null device, to write",
    ("io/atomic.py", "os.open"): "to bring it to the disk",
    ("interventions/interchange.py", "pd.read_csv"): "of a text in memory",
    ("io/archives.py", "zipfile.ZipFile"): "of an opened file",
    ("io/archives.py", "archive.open"): "of an opened file",
    ("io/mask_files.py", "zipfile.ZipFile"): "of an opened file",
    ("io/mask_files.py", "archive.open"): "of an opened file",
    ("interventions/values.py", "np.load"): "a path that is known to be a file's",
    ("io/text_files.py", "yaml.load"): "of a text in memory",
    ("io/locking.py", "os.open"): "a lock, of which nothing is read",
    ("tracking/wandb_logger.py", "pd.read_csv"): "numbers of the report that the same command has just written",
    ("config/component.py", "OmegaConf.load"): "folders of configuration, which Hydra reads in the same way",
    ("report/page.py", "(_TEMPLATES / name).read_text"): "this package's own",
    ("view/server.py", "(Path(__file__).with_name('page') / name).read_text"): "this package's own",
    ("report/report_figure.py", "(folder / f'{report_figure.name}.svg').read_text"): "the figure that was just written",
    ("config/component_names.py", "path.read_text"): "folders of configuration and files of this package",
    ("datasets/readers/manifest.py", "pq.ParquetFile"): "of an opened file",
    ("datasets/readers/nifti.py", "gzip.GzipFile"): "of an opened file",
    ("datasets/readers/nifti.py", "np.memmap"): "a file of bounded size, that has been opened",
    ("store/tables.py", "pq.ParquetFile"): "a path that is known to be a file's",
    ("cli/session.py", "os.open"): "the log, to write",
    ("datasets/hf_dataset.py", "reader.read_bytes"): "its own method, which reads through dovision.io",
    ("datasets/hf_dataset.py", "self.read_bytes"): "its own method, which reads through dovision.io",
    ("identity/provenance.py", "Path('/proc/self/status').read_text"): "of the kernel",
}
READERS = ("files", "images", "archives", "sealed")
OF_A_RUN = ("read_json", "read_table")  # of io.text_files, which reads through dovision.io, and of store.tables


def opened() -> set[tuple[str, str]]:
    """(file, what is called) of each call that opens a file by its name to read it."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name == "io" and path.stem in ("files", "images", "sealed"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            called = ast.unparse(node.func)
            words = {each.value for each in node.args if isinstance(each, ast.Constant)}
            through = called.split(".")[0] in (*READERS, "checkpoint")
            if name in OPENERS and called not in (*OF_A_RUN, "read_text") and not through and not words & WRITES:
                found.add((path.relative_to(PACKAGE).as_posix(), called))
    return found


def test_each_is_listed():
    assert opened() - EXCEPTIONS.keys() == set()


def test_no_exception_is_out_of_date():
    assert EXCEPTIONS.keys() - opened() == set()


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
    known["pickle.loads"] = {"runtime/forks.py"}  # of what its copies have pickled
    trees = {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")}
    named = {
        (file, ast.unparse(node))
        for file, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
    }
    assert {file for file, function in named if function == name} == known.get(name, set())
