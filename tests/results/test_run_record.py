"""What is found under a folder, and how damage is reported."""

import re
import shutil

import pytest

from dovision.results.run_record import Run, read_sweep, survey
from dovision.results.sweep_findings import by_factors
from dovision.results.tables import SAMPLES, read_samples
from made_runs import seal


def test_all_runs_are_found_with_their_states_and_what_distinguishes_them(sweep):
    (sweep / "foreign").mkdir(exist_ok=True)
    (sweep / "foreign" / "notes.txt").write_text("mine")
    runs = read_sweep(sweep)
    assert [(run.folder.name, run.state, run.label) for run in runs] == [
        ("1a", "completed", "grid 2 x 2, grid of cells, seed 0"),
        ("2b", "completed", "grid 4 x 4, grid of cells, seed 1"),
        ("3c", "completed", "activation, seed 2"),
        ("4d", "failed", "grid 64 x 64, grid of cells, seed 0"),
        ("5e", "interrupted", "grid 8 x 8, grid of cells, seed 0"),
    ]
    assert runs[3].failure == "ValueError: a grid must have at most 32 rows, got 64."
    assert runs[0].failure == ""
    assert runs[1].seed == 1
    assert runs[1].config["intervention"]["rows"] == 4


def test_numbers_of_a_sweep_are_of_the_images_that_its_tables_count(sweep):
    runs = [run for run in read_sweep(sweep) if run.state == "completed"]
    images = by_factors(runs).set_index(["epsilon", "metric"])["images"]
    attacked = [read_samples(run.folder).query("condition == 'eps=0.2'") for run in runs]
    assert images["0.2", "auroc"].tolist() == [(samples["success"] == 1).sum() for samples in attacked]
    assert images["0.2", "accuracy"].item() == 40


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mnst_maps", r"mnst_maps, which does not exist. Did you mean mnist_maps\?"),
        ("mnist_maps", r"which holds no run\.json\. Run dovision-evaluate first, or name the folder that it wrote to"),
    ],
)
def test_a_folder_without_runs_is_refused_with_what_to_do(tmp_path, name, message):
    (tmp_path / "mnist_maps").mkdir()
    with pytest.raises(FileNotFoundError, match=message):
        read_sweep(tmp_path / name)


@pytest.mark.parametrize("name", ["run.json", "summary.json", ".hydra/config.yaml"])
def test_a_damaged_file_is_named(tmp_path, write_run, name):
    write_run(tmp_path, images=4, maps=0, eps=())
    (tmp_path / name).write_text("{ half")
    with pytest.raises(ValueError, match=rf"{tmp_path / name} must hold"):
        read_sweep(tmp_path)


def test_a_copy_of_a_run_does_not_count_twice(tmp_path, write_run):
    for name, settings in (("a", "1"), ("b", "1"), ("c", "2")):
        write_run(tmp_path / name, [f"seed={settings}"], images=6, maps=0, eps=(0.2,))
        seal(tmp_path / name, settings=settings)
    one, other, copied = sorted(survey(tmp_path), key=lambda run: (run.state == "copy", run.folder))
    assert [each.folder.name for each in (one, other, copied)] == ["a", "c", "b"]
    assert copied.failure == f"it repeats {tmp_path / 'a'}, and would count twice. Delete one."


@pytest.fixture
def folder(tmp_path, write_run):
    """A good run, and a copy of it to be damaged."""
    write_run(tmp_path / "good", ["attack=pgd", "seed=1"], images=6, maps=1, eps=(0.2,))
    shutil.copytree(tmp_path / "good", tmp_path / "spoilt")
    seal(tmp_path / "spoilt", overrides=["attack=pgd", "seed=2"])
    return tmp_path


DAMAGE = [
    (
        lambda run: (run / SAMPLES).unlink(),
        r"spoilt must be as the run has left them, but samples\.parquet is missing\. Run its command again, which",
    ),
    (lambda run: ((run / SAMPLES).unlink(), seal(run)), r"samples\.parquet must be a table of a run, got no such"),
    (
        lambda run: (run / ".hydra/config.yaml").unlink(),
        r"config\.yaml must hold the run's config, got damaged content\. Delete the",
    ),
]


@pytest.mark.parametrize(("spoil", "pattern"), DAMAGE)
def test_a_damaged_run_is_named_with_the_remedy(folder, spoil, pattern):
    spoil(folder / "spoilt")
    good, spoilt = survey(folder)
    assert (good.state, good.failure) == ("completed", "")
    assert spoilt.state == "unreadable"
    assert re.search(pattern, spoilt.failure)


def test_labels_do_not_suffer_from_a_run_that_cannot_be_read(folder, write_run):
    write_run(folder / "other", ["attack=pgd", "seed=3"], images=4, maps=0, eps=())
    (folder / "spoilt" / "run.json").write_text("{")
    assert [run.label for run in survey(folder)] == ["epsilon 0.2, seed 1", "seed 3", "spoilt"]


def test_failed_running_and_foreign_runs_stand_beside_the_completed_one(folder):
    (folder / "spoilt" / "run.json").write_text('{"state": "SUCCEEDED", "id": 7}')
    failed, running = Run(folder / "failed"), Run(folder / "running")
    failed.start({}, ["attack=pgd", "seed=4"], {})
    failed.fail(MemoryError("too large"))
    running.start({}, ["attack=pgd", "seed=5"], {})
    states = {run.folder.name: (run.state, run.failure) for run in survey(folder)}
    assert states["failed"] == ("failed", "MemoryError: too large")
    assert [states[name][0] for name in ("good", "running", "spoilt")] == ["completed", "running", "foreign"]
