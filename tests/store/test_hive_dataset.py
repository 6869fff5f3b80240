"""Datasets cut by run and condition have the rows of the tables, in each program that reads such folders."""

import pandas as pd
import pyarrow.dataset as ds
import pytest

from dovision.cli.report import main
from dovision.store.effect_sums import SUMS
from dovision.store.hive_dataset import write_hive
from dovision.store.tables import EFFECTS, SAMPLES, effects_schema, read_table, write_table

KEY = ["condition", "sample", "unit", "class"]
COLUMNS = [*KEY, "effect", "top"]


@pytest.fixture(scope="module")
def run(tmp_path_factory, write_run):
    return write_run(tmp_path_factory.mktemp("runs") / "0123456789ab", eps=(0.05, 0.2), grid=2, images=20, maps=0).path


@pytest.fixture(scope="module")
def hive(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hive")
    assert [path.name for path in write_hive([run], folder)] == ["samples", "effects"]
    return folder


def ordered(frame):
    return frame.astype(dict.fromkeys(("condition", "unit", "class"), str)).sort_values(KEY, ignore_index=True)[COLUMNS]


@pytest.fixture(scope="module")
def expected(run):
    return ordered(read_table(run / EFFECTS).to_pandas())


def test_folders_are_named_by_run_and_condition(hive):
    found = sorted(path.relative_to(hive).as_posix() for path in (hive / "effects").rglob("*.parquet"))
    names = ("clean", "eps%3D0.05", "eps%3D0.2")
    assert found == [f"effects/run=0123456789ab/condition={name}/part-0.parquet" for name in names]


def test_pyarrow_and_pandas_read_the_rows_of_the_tables(hive, run, expected):
    dataset = ds.dataset(hive / "effects", partitioning="hive")
    pd.testing.assert_frame_equal(ordered(dataset.to_table().to_pandas()), expected)
    pd.testing.assert_frame_equal(ordered(pd.read_parquet(hive / "effects")), expected)
    clean = dataset.to_table(filter=ds.field("condition") == "eps=0.2", columns=["effect"])
    assert len(clean) * 3 == len(expected)
    assert ds.dataset(hive / "samples", partitioning="hive").count_rows() == len(read_table(run / SAMPLES))


def test_duckdb_reads_the_rows_of_the_tables(hive, expected):
    duckdb = pytest.importorskip("duckdb")
    found = duckdb.sql(f"SELECT * FROM read_parquet('{hive}/effects/*/*/*.parquet', hive_partitioning=true)").df()
    pd.testing.assert_frame_equal(ordered(found), expected, check_dtype=False)


def test_polars_reads_the_rows_of_the_tables(hive, expected):
    polars = pytest.importorskip("polars")
    found = polars.scan_parquet(hive / "effects", hive_partitioning=True).collect()
    frame = pd.DataFrame(found.to_dict(as_series=False))
    pd.testing.assert_frame_equal(ordered(frame), expected, check_dtype=False)


def test_a_second_export_replaces_the_first_and_keeps_other_runs(run, tmp_path, write_run):
    other = write_run(tmp_path / "ba9876543210", eps=(), grid=2, images=5, maps=0).path
    for runs in ([run], [other], [run]):
        write_hive(runs, tmp_path / "hive")
    assert len(list((tmp_path / "hive").rglob("*.parquet"))) == 2 * (3 + 1)
    assert ds.dataset(tmp_path / "hive" / "effects", partitioning="hive").count_rows(
        filter=ds.field("run") == other.name
    ) == len(read_table(other / EFFECTS))
    assert not (tmp_path / "hive" / SUMS).exists()


def test_a_table_without_a_row_has_no_folder(tmp_path, write_run):
    run = write_run(tmp_path / "0123456789ab", eps=(), grid=2, images=5, maps=0).path
    write_hive([run], tmp_path / "hive")
    write_table(run / EFFECTS, effects_schema("summary"), [])  # as evaluation.keep=summary leaves it
    assert [path.name for path in write_hive([run], tmp_path / "new")] == ["samples"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["samples"]
    write_hive([run], tmp_path / "hive")
    assert not list((tmp_path / "hive" / "effects").iterdir())


def test_a_damaged_table_is_refused_and_leaves_nothing_half_written(tmp_path, write_run):
    run = write_run(tmp_path / "0123456789ab", eps=(), grid=2, images=5, maps=0).path
    content = bytearray((run / EFFECTS).read_bytes())
    content[len(content) // 2] ^= 1
    (run / EFFECTS).write_bytes(content)
    with pytest.raises(ValueError, match="must be a parquet table, got a damaged file"):
        write_hive([run], tmp_path / "hive")
    assert sorted(path.name for path in (tmp_path / "hive").iterdir()) == ["samples"]


def test_runs_of_one_name_are_refused(run, tmp_path):
    other = tmp_path / "other" / run.name
    with pytest.raises(ValueError, match=f"different names, got {run} and {other}"):
        write_hive([run, other], tmp_path / "hive")
    assert not (tmp_path / "hive").exists()


def test_the_command_exports_in_place_of_a_page(run, tmp_path, run_command, capsys):
    arguments = [f"sweep={run.parent}", f"output={tmp_path}", "export=hive"]
    assert run_command(main, *arguments) == 0
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "samples"), str(tmp_path / "effects")]
    assert not (tmp_path / "index.html").exists()
    assert run_command(main, *arguments[:2], "export=csv") == 1
    assert "export must be one of hive, got 'csv'" in capsys.readouterr().err
