"""Runs of ranges of images, measured by a sweep and read as one."""

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from dovision.results.image_ranges import read_runs, sorted_ranges
from dovision.results.run_record import read_sweep
from dovision.results.schemas import read_summary
from made_runs import seal

TABLES = ("samples", "effects", "effect_sums", "maps")
OPTIONS = (
    *("evaluation.rows=named", "evaluation.batch_size=2", "evaluation.num_thumbnails=1", "threads=1"),
    *("explainer=[edge_map]", "explanation.cells=4", "explanation.steps=2", "explanation.num_sanity_images=0"),
    *("attack=fgsm", "attack.eps=0.1"),
)


@pytest.fixture
def measured(copy, dovision_evaluate):
    """Measure images of digits in an output root of its own; return its runs."""

    def run(images: str, *more: str) -> Path:
        root = copy if ":" in images else copy.parent / "whole"
        if not root.exists():
            root.mkdir()
            (root / "checkpoints").symlink_to(copy / "checkpoints")
        swept = ["-m"] if "," in images else []
        assert dovision_evaluate(f"output_root={root}", *OPTIONS, f"evaluation.images={images}", *more, *swept) == 0
        return root / "evaluate"

    return run


def test_ranges_of_images_are_read_as_the_run_of_all_of_them(measured):
    sweep = measured("4:8,0:4")  # in whatever order
    (one,) = read_sweep(measured("8"))
    (joined,) = read_runs(sweep)
    for name in TABLES:
        expected, table = (pq.read_table(run.folder / f"{name}.parquet") for run in (one, joined))
        assert table.equals(expected, check_metadata=True), name
    assert joined.summary == one.summary == read_summary(joined.folder)
    for name in ("images", "forward_passes", "skipped_edits"):
        assert joined.record[name] == one.record[name], name
    assert joined.config["evaluation"]["images"] == "0:4, 4:8"
    assert joined.overrides[-2:] == ("evaluation.images=0:4,4:8", "-m")
    assert {run.state for run in read_sweep(sweep)} == {"completed"}  # the ranges alone have run.json
    assert len(read_sweep(sweep)) == 2
    assert len(pd.read_csv(sweep / "sweep_summary.csv")) == 1  # a row for both


def test_runs_that_differ_in_more_than_their_range_stay_apart(measured):
    sweep = measured("0:4,4:8", "intervention.rows=1,2", "explainer=[]")
    changed = read_sweep(sweep)[0].folder
    runs = read_runs(sweep)
    assert [len(pq.read_table(run.folder / "samples.parquet")) for run in runs] == [16, 16]
    assert len({run.label for run in runs}) == 2
    seal(changed, measurement=99)
    assert sorted(run.record["images"] for run in read_runs(sweep)) == [4, 4, 8]


@pytest.mark.parametrize(
    ("ranges", "two"), [(["0:2", "1:3"], "0:2 and 1:3"), (["7:9", "0:10", "10:12"], "0:10 and 7:9")]
)
def test_ranges_that_overlap_are_refused(ranges, two):
    with pytest.raises(ValueError, match=f"do not overlap, since they are read as one run, got {two}"):
        sorted_ranges(ranges)
    assert sorted_ranges(["10:12", "2:10", "0:2"]) == ["0:2", "2:10", "10:12"]
