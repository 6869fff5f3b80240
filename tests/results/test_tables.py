"""Tables are complete, equal for equal rows, and refused when damaged."""

import gc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from dovision.results import tables
from dovision.results.tables import TableWriter, effects_schema, read_effects, read_samples, row_groups, write_table
from dovision.results.to_arrow import effect_columns
from dovision.types import Box, Task

TASK = Task("multiclass", ("cat", "dog"))


def rows(samples, condition="clean"):
    """Two units of two classes for each sample; every number follows from the sample."""
    control = torch.stack([torch.tensor([0.0, float(s % 3)]) for s in samples])
    treated = control.unsqueeze(1) + torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    boxes = [[Box(0, 0, 2, 2), None]] * len(samples)
    return effect_columns(
        condition=condition,
        sample=torch.tensor(list(samples)),
        units=("left", "right"),
        task=TASK,
        control_logits=control,
        treated_logits=treated,
        regions=boxes,
    )


def write(path, batches):
    write_table(path, effects_schema(), batches)
    return path


def test_an_error_while_writing_leaves_nothing(tmp_path):
    with pytest.raises(pa.ArrowInvalid), TableWriter(tmp_path / "effects.parquet", effects_schema()) as table:
        table.write(pa.RecordBatch.from_pydict({"other": [1]}))
    assert list(tmp_path.iterdir()) == []


def test_the_bytes_do_not_depend_on_how_the_rows_were_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "ROW_GROUP", 50)
    whole = write(tmp_path / "a.parquet", [rows(range(40))])
    cut = write(tmp_path / "b.parquet", [rows(range(7)), rows(range(7, 8)), rows(range(8, 40))])
    assert whole.read_bytes() == cut.read_bytes()
    assert [pq.ParquetFile(whole).metadata.row_group(i).num_rows for i in range(4)] == [50, 50, 50, 10]


def test_only_the_rows_of_the_samples_that_are_asked_for_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "ROW_GROUP", 16)
    write(tmp_path / "effects.parquet", [rows(range(40))])
    frame = read_effects(tmp_path, [3, 17])
    assert frame["sample"].tolist() == [3] * 4 + [17] * 4
    assert len(list(row_groups(tmp_path / "effects.parquet", samples=[3, 17]))) == 2
    assert read_effects(tmp_path, [99]).empty


@pytest.mark.parametrize("damage", ["empty", "truncated", "flipped", "text"])
def test_a_damaged_table_is_named_with_the_remedy(tmp_path, damage):
    path = write(tmp_path / "effects.parquet", [rows(range(500))])
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[200] ^= 0xFF
    new = {"empty": b"", "truncated": content[: len(content) // 2], "flipped": content, "text": b"PAR1 no"}[damage]
    path.write_bytes(new)
    with pytest.raises(ValueError, match=rf"{path} must be a parquet table, got a damaged file.*Delete the folder"):
        list(row_groups(path))


@pytest.mark.parametrize("metadata", [None, {"dovision_format": "0"}])
def test_a_table_of_another_format_is_refused_with_the_remedy(tmp_path, metadata):
    schema = effects_schema().with_metadata(metadata)
    pq.write_table(pa.Table.from_batches([rows([0])]).cast(schema), tmp_path / "effects.parquet")
    with pytest.raises(ValueError, match=r"must be of table format 5, got (none|0)\. Run the evaluation again"):
        read_effects(tmp_path, [0])


def test_a_table_without_rows_is_refused(tmp_path):
    write_table(tmp_path / "samples.parquet", tables.samples_schema(TASK), [])
    with pytest.raises(ValueError, match=r"samples\.parquet must have rows, got none"):
        read_samples(tmp_path)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length_of_the_table(tmp_path):
    part = rows(range(12_500))
    peaks = []
    gc.collect()  # what others have left is freed now, and not while the first table is written
    for times in (4, 40):
        before = pa.total_allocated_bytes()
        largest = 0
        with TableWriter(tmp_path / "effects.parquet", effects_schema()) as table:
            for _ in range(times):
                table.write(part)
                largest = max(largest, pa.total_allocated_bytes() - before)
        peaks.append(largest)
    assert peaks[1] <= 1.1 * peaks[0]
