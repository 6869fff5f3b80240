"""Rows in finished chunks, and the tables that they are joined to."""

from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dovision.measurement.condition import by_sample
from dovision.results.resumable_writer import ResumableWriter, Resume
from dovision.results.tables import INTEGER, NAME, RunTable

TABLE = RunTable("t.parquet", "", columns={"sample": (INTEGER, ""), "unit": (NAME, "")}, keys=("sample",))
SCHEMA = TABLE.schema()
UNITS = ["b", "a", "c"]


def rows(*samples):
    units = pa.array([UNITS[sample % 3] for sample in samples]).dictionary_encode()
    return {TABLE: pa.RecordBatch.from_pydict({"sample": list(samples), "unit": units}, schema=SCHEMA)}


def opened(folder, every=2, origin=(("code", "1"),), **options):
    resume = Resume(every, None if origin is None else dict(origin))
    return ResumableWriter(folder, "effects", {TABLE: SCHEMA}, resume, **options)


def test_what_was_finished_is_found_again_and_the_table_is_the_same_to_the_byte(tmp_path):
    stopped = opened(tmp_path / "stopped")
    for sample in range(5):
        stopped.add(1, rows(sample), {"passes": sample + 1})
    again = opened(tmp_path / "stopped")  # without the fifth image, which was not finished
    assert (again.done, again.state) == (4, {"passes": 4})
    again.add(3, rows(4, 5, 6), {"passes": 7})
    again.flush()
    again.join()
    whole = opened(tmp_path / "whole", every=100)
    whole.add(7, rows(*range(7)), {"passes": 7})
    whole.flush()
    whole.join()
    first, second = (tmp_path / name / "t.parquet" for name in ("stopped", "whole"))
    assert pq.read_table(first)["sample"].to_pylist() == list(range(7))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("file", "text", "code"), [("1.json", None, "1"), ("origin.json", "{", "1"), ("origin.json", None, "2")]
)
def test_a_chunk_is_used_if_it_was_finished_by_the_same_code_data_and_weights(tmp_path, caplog, file, text, code):
    opened(tmp_path, every=1).add(1, rows(0), {})
    path = tmp_path / "chunks" / "effects" / "0-of-1" / file
    if text is not None:
        path.write_text(text)
    elif code == "1":
        path.unlink()
    with caplog.at_level("INFO"):
        assert opened(tmp_path, origin=(("code", code),)).done == 0
    assert ("all images are rerun, since these differ: code" in caplog.text) == (code == "2")


def test_tables_may_lie_in_a_folder_of_the_run(tmp_path):
    (tmp_path / "reads").mkdir()
    table = RunTable("reads/*.parquet", "", columns=TABLE.columns, keys=()).named("t")
    for done in (0, 1):
        writer = ResumableWriter(tmp_path, "detection", {table: SCHEMA}, Resume(1, {}))
        assert writer.done == done
        if not done:
            writer.add(1, {table: rows(0)[TABLE]}, {})
    writer.join()
    assert pq.read_table(tmp_path / "reads" / "t.parquet")["sample"].to_pylist() == [0]


def test_no_start_resumes_from_chunks_without_an_origin_and_none_is_left(tmp_path):
    opened(tmp_path, 1, origin=None).add(1, rows(0), {})
    again = opened(tmp_path, origin=None)
    assert again.done == 0
    again.join()
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]


def test_many_rows_are_finished_before_the_images_are_enough(tmp_path):
    writer = opened(tmp_path, every=100, row_group=3)
    writer.add(1, rows(0, 0), {})
    assert writer.done == 0
    writer.add(1, rows(1, 1), {})
    assert writer.done == 2


def test_the_chunks_of_several_devices_are_joined_in_their_order(tmp_path):
    second, first = (opened(tmp_path, device=(rank, 2)) for rank in (1, 0))
    second.add(2, rows(2, 3), {})
    first.add(2, rows(0, 1), {})
    first.join()
    assert pq.read_table(tmp_path / "t.parquet")["sample"].to_pylist() == [0, 1, 2, 3]


def test_pending_rows_are_finished_at_the_end_and_measured_again_after_an_exception(tmp_path):
    for error, done in ((KeyboardInterrupt, 0), (None, 1)):
        with suppress(KeyboardInterrupt), opened(tmp_path) as writer:
            writer.add(1, rows(0), {"passes": 1})
            if error:
                raise error
        again = opened(tmp_path)
        assert (again.done, again.state) == (done, {"passes": 1} if done else {})


def in_condition(condition, samples):
    names = pa.array([condition] * len(samples)).dictionary_encode()
    return pa.RecordBatch.from_pydict({"sample": samples, "condition": names})


def test_rows_go_image_by_image_and_condition_by_condition_within_an_image():
    clean, attacked = (in_condition(name, [7, 7, 8, 8]) for name in ("clean", "eps=0.1"))
    ordered = by_sample([clean, attacked], images=2).to_pydict()
    assert ordered["sample"] == [7, 7, 7, 7, 8, 8, 8, 8]
    assert ordered["condition"] == ["clean", "clean", "eps=0.1", "eps=0.1"] * 2
