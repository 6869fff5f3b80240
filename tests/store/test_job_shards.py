"""Names of shards, what is missing, and sums of what was counted."""

from pathlib import Path

import pytest

from dovision.store.job_shards import (
    ShardsLacking,
    check_complete,
    check_folder,
    is_shard,
    merged_folder,
    missing_shards,
    shard_folders,
)
from dovision.store.resumable_writer import added
from dovision.store.run_directory import RunDirectory
from dovision.store.run_record import run_folders


def test_a_shard_lies_beside_the_run_that_it_is_merged_into():
    merged = Path("out/0123456789ab")
    folders = shard_folders(merged, 3)
    assert [folder.name for folder in folders] == [f"0123456789ab-{number}-of-3" for number in range(3)]
    assert {merged_folder(folder) for folder in folders} == {merged}
    assert all(map(is_shard, folders))
    assert not is_shard(merged)
    assert merged_folder(merged) == merged


def test_what_is_missing_is_listed_with_its_state_and_the_command(tmp_path):
    merged = tmp_path / "run"
    for number, end in ((0, "complete"), (2, "leave_partial")):
        run = RunDirectory(shard_folders(merged, 4)[number])
        run.start({}, [], {})
        getattr(run, end)({} if end == "complete" else "stopped")
    assert missing_shards(merged, 4) == {1: "missing", 2: "partial", 3: "missing"}
    message = r"got 3 that are not: 1 \(missing\), 2 \(partial\), 3 \(missing\)\. .* -m evaluation\.shard=1,2,3"
    with pytest.raises(ValueError, match=message):
        check_complete(merged, 4)


def test_a_folder_of_the_users_own_name_is_no_shard(tmp_path):
    fold = tmp_path / "cv" / "fold-1-of-5"
    RunDirectory(fold).start({}, [], {})
    assert run_folders(tmp_path) == [fold]
    check_folder(fold, None)
    with pytest.raises(ValueError, match=r"evaluation\.shard=1 needs a run directory of its own .* got .*fold-1-of-5"):
        check_folder(fold, 1)


def test_what_is_outdated_is_listed_with_what_is_missing(tmp_path):
    with pytest.raises(ShardsLacking, match=r"0 \(other code\), 1 \(missing\)\. .* -m evaluation\.shard=0,1,"):
        check_complete(tmp_path / "run", 2, {0: "other code"})


def test_counts_are_added_number_by_number_and_the_smallest_chunk_stays():
    one = {"forward_passes": 3, "chunk_limit": None, "queries": {"passes": [1, 2], "images": 4}}
    other = {"forward_passes": 4, "chunk_limit": 32, "queries": {"passes": [10, 20], "images": 1}}
    assert added([one, other]) == {
        "forward_passes": 7, "chunk_limit": 32, "queries": {"passes": [11, 22], "images": 5},
    }  # fmt: skip
    assert added([one])["chunk_limit"] is None
