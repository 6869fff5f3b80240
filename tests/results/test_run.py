"""What run.json says is what happened."""

import threading

import pytest

from dovision.results import run_record
from dovision.results.run_record import Run
from dovision.results.tables import EFFECTS


def test_a_start_that_fails_leaves_the_directory_to_the_next_one(tmp_path):
    (tmp_path / ".hydra").write_text("a file where a folder is to be made")
    first, second = Run(tmp_path), Run(tmp_path)
    with pytest.raises(FileExistsError, match=r"\.hydra"):
        first.start({}, [], {})
    (tmp_path / ".hydra").unlink()
    second.start({}, [], {})
    assert second.look().state == "running"


def test_a_directory_of_another_process_is_refused_and_a_fact_that_is_not_plain_by_name(tmp_path):
    at_work = Run(tmp_path)
    at_work.start({}, [], {})
    with pytest.raises(FileExistsError, match="another process is writing.*output_root"):
        Run(tmp_path).start({}, [], {})
    assert at_work.look().state == "running"
    with pytest.raises(ValueError, match="fact device must be made of plain types, got object"):
        at_work.update({"device": object()})
    assert at_work.state == "running"


@pytest.mark.parametrize("text", ["", '{"state": "compl', '{"state": "done"}', "{}", "\0" * 80])
def test_a_damaged_run_json_is_no_completed_run_and_the_next_start_removes_its_tables(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    (tmp_path / EFFECTS).write_text("of whatever it was")
    run = Run(tmp_path)
    assert run.look().state == "damaged"
    run.start({}, [], {})
    assert run.state == "running"
    assert not (tmp_path / EFFECTS).exists()


def test_a_start_that_has_waited_for_the_lock_does_not_erase_what_was_completed_meanwhile(tmp_path, monkeypatch):
    monkeypatch.setattr(run_record, "LOCK_PATIENCE", 60.0)
    first, second = Run(tmp_path), Run(tmp_path)
    first.start({}, [], {})
    (tmp_path / EFFECTS).write_text("all rows")
    soon = threading.Timer(0.2, first.complete, [{}])
    soon.start()
    with pytest.raises(FileExistsError, match="must not hold a completed run"):
        second.start({}, [], {})
    soon.join()
    assert (second.look().state, (tmp_path / EFFECTS).read_text()) == ("completed", "all rows")


def test_a_run_that_ends_while_its_state_is_looked_up_is_not_called_interrupted(tmp_path, monkeypatch):
    run = Run(tmp_path)
    run.start({}, [], {})

    def is_locked(path):
        run.complete({})
        return False

    monkeypatch.setattr("dovision.results.run_record.is_locked", is_locked)
    assert Run(tmp_path).look().state == "completed"


def test_chunks_of_a_completed_run_that_was_killed_before_their_removal_go_with_the_next_command(tmp_path):
    for state in ("running", "completed"):
        run = Run(tmp_path / state)
        run.start({}, [], {})
        if state == "completed":
            run.complete({})
        chunk = run.folder / "chunks" / "effects" / "64.json"
        chunk.parent.mkdir(parents=True)
        chunk.touch()
        run.close()
        Run(run.folder).remove_chunks()
        assert (run.folder / "chunks").exists() == (state == "running")


def test_a_run_whose_last_record_fails_can_be_ended_otherwise(tmp_path, monkeypatch):
    run = Run(tmp_path)
    run.start({}, [], {})
    with monkeypatch.context() as patch:
        patch.setattr("dovision.results.run_files.digests", lambda folder: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run.complete({})
    run.fail(ZeroDivisionError("by zero"))
    assert Run(tmp_path).look().state == "failed"
