"""A run's files against what it has recorded of them."""

from pathlib import Path

import pytest

from dovision.results.run_files import RUN_FILES, digest_differences
from dovision.results.run_record import Run
from dovision.results.tables import RunTable, read_schema
from made_datasets import flip

WRITTEN = ("samples.parquet", "effects.parquet", "maps.parquet", "boxes.parquet", "attacks.parquet", "scores.parquet")
WRITTEN += ("masks.parquet", "detection.parquet", "summary.json", "reads/odin.parquet", "maps/0_clean.png")
RECORDED = (*WRITTEN, ".hydra/config.yaml", ".hydra/overrides.yaml")


def written(folder, content):
    """A completed run whose files say `content` and their own name, all in the same number of bytes."""
    run = Run(folder)
    run.start({"seed": content}, [f"seed={content}"], {})
    for name in WRITTEN:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{name} {content}")
    run.complete({})
    return run


DAMAGES = {  # what happens to a file, beside one of another run, and the end of what is said
    "removed": (lambda file, other: file.unlink(), "is missing"),
    "cut": (lambda file, other: file.write_bytes(file.read_bytes()[:-1]), " bytes"),
    "emptied": (lambda file, other: file.write_bytes(b""), " bytes"),
    "exchanged": (lambda file, other: file.write_bytes(other.read_bytes()), "has other content"),
    "flipped": (lambda file, other: flip(file), "has other content"),
}


@pytest.mark.parametrize("name", RECORDED)
@pytest.mark.parametrize(("damage", "end"), DAMAGES.values(), ids=DAMAGES)
def test_whatever_happens_to_any_file_it_is_named(tmp_path, name, damage, end):
    run, other = written(tmp_path / "a", "a"), written(tmp_path / "b", "b")
    damage(run.folder / name, other.folder / name)
    (difference,) = digest_differences(run.folder, run.read_record())
    assert difference.startswith(name)
    assert difference.endswith(end)


@pytest.mark.parametrize("pattern", [file.path for file in RUN_FILES if file.digested])
def test_a_file_that_the_run_has_not_written_is_named(tmp_path, pattern):
    run = written(tmp_path, "a")
    planted = tmp_path / pattern.replace("*", "planted")
    planted.parent.mkdir(parents=True, exist_ok=True)
    planted.write_text("of another run")
    name = planted.relative_to(tmp_path).as_posix()
    difference = f"{name} has" if name in RECORDED else f"{name} is none of the files that the run has recorded"
    assert [one.startswith(difference) for one in digest_differences(tmp_path, run.read_record())] == [True]


@pytest.mark.parametrize("facts", [{}, {"digests": {}}])
def test_a_run_without_digests_is_not_relied_on(tmp_path, facts):
    written(tmp_path, "a")
    assert digest_differences(tmp_path, facts) == ["run.json records no digests of the tables"]


ENTRIES = {part for file in RUN_FILES for part in (Path(file.path), *Path(file.path).parents[:-1])}


@pytest.mark.parametrize("entry", [".", *sorted(path.as_posix().replace("*", "planted") for path in ENTRIES)])
@pytest.mark.parametrize("target", ["folder", "file", "nothing"])
def test_nothing_is_written_or_removed_through_a_link(tmp_path, entry, target):
    home = tmp_path / "home"
    (home / "a" / "b").mkdir(parents=True)
    for path in (home / "file", home / "x.png", home / "a" / "x.yaml", home / "a" / "b" / "file"):
        path.write_text("of the user")
    before = {path: path.is_file() and path.read_text() for path in home.rglob("*")}
    link = tmp_path / "runs" / "run" / entry
    link.parent.mkdir(parents=True)
    link.symlink_to(home if target == "folder" else home / target)
    run = Run(tmp_path / "runs" / "run")
    for begin in (lambda: run.start({}, [], {}, afresh=True), run.hold):
        with pytest.raises(ValueError, match=f"must hold its files itself, got {link}, a link to .*home"):
            begin()
    assert {path: path.is_file() and path.read_text() for path in home.rglob("*")} == before


def test_a_run_writes_what_is_declared_alone_with_a_row_for_each_key_of_a_table(fitted_run):
    for table in [file for file in RUN_FILES if isinstance(file, RunTable) and (fitted_run / file).is_file()]:
        assert read_schema(fitted_run / table).names == table.schema().names
        assert not table.read(fitted_run).duplicated(list(table.keys)).any(), table.path
    declared = {path for file in RUN_FILES for path in file.find(fitted_run)}
    written = {path for path in fitted_run.rglob("*") if path.is_file()}
    assert written - declared == set()
    names = {path.relative_to(fitted_run).as_posix() for path in written} - Run(fitted_run).read_record()[
        "digests"
    ].keys()
    assert names == {"run.json", "run.log", "csv/metrics.csv", "csv/hparams.yaml", ".run.lock"}
    always = "run.json samples.parquet effects.parquet effect_sums.parquet boxes.parquet summary.json metrics.csv"
    assert {path.name for path in declared} >= set(always.split())
