"""What is found under a folder, and how damage is reported."""

import pytest

from dovision.store.run_record import describe, read_sweep


def test_all_runs_are_found_with_their_states_and_what_distinguishes_them(sweep):
    (sweep / "foreign").mkdir(exist_ok=True)
    (sweep / "foreign" / "notes.txt").write_text("mine")
    runs = read_sweep(sweep)
    assert [(run.folder.name, run.state, run.label) for run in runs] == [
        ("1a", "completed", "intervention.rows=2"),
        ("2b", "completed", "intervention.rows=4"),
        ("3c", "completed", "intervention=latent_channel"),
        ("4d", "failed", "intervention.rows=64"),
        ("5e", "interrupted", "intervention.rows=8"),
    ]
    assert runs[3].failure == "ValueError: a grid must have at most 32 rows, got 64."
    assert runs[0].failure == ""
    assert runs[1].seed == 1
    assert runs[1].config["intervention"]["rows"] == 4


def test_a_run_directory_itself_is_a_sweep_of_one(sweep):
    (run,) = read_sweep(sweep / "1a")
    assert run.label == "attack=pgd, intervention.rows=2"


def test_runs_of_equal_overrides_are_told_apart_by_their_paths(tmp_path, write_run):
    for name in ("x", "y"):
        write_run(tmp_path / name, ["attack=pgd", f"output_root=/{name}"], images=4, maps=0, eps=())
    assert [run.label for run in read_sweep(tmp_path)] == ["x", "y"]


def test_a_folder_that_does_not_exist_names_the_nearest_one(tmp_path):
    (tmp_path / "mnist_maps").mkdir()
    with pytest.raises(FileNotFoundError, match=r"mnst_maps, which does not exist. Did you mean mnist_maps\?"):
        read_sweep(tmp_path / "mnst_maps")


def test_a_folder_without_runs_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"which holds no run\.json\. Run dovision-evaluate first"):
        read_sweep(tmp_path)


@pytest.mark.parametrize("name", ["run.json", "summary.json", ".hydra/config.yaml"])
def test_a_damaged_file_is_named(tmp_path, write_run, name):
    write_run(tmp_path, images=4, maps=0, eps=())
    (tmp_path / name).write_text("{ half")
    with pytest.raises(ValueError, match=rf"{tmp_path / name} must hold"):
        read_sweep(tmp_path)


def test_a_part_is_described_by_its_class_and_what_is_short():
    fill = {"_target_": "dovision.interventions.fills.Constant", "value": 0.0}
    grid = {"_target_": "a.PixelGrid", "rows": 4, "fill": fill, "root": "/home/me", "seed": None, "shape": [1, 2]}
    assert (
        describe(grid | {"classes": list("abcdefghij")}) == "PixelGrid(rows=4, fill=Constant(value=0.0), shape=[1, 2])"
    )
    assert describe({"_target_": "a.Zero"}) == "Zero"
    assert describe({"_target_": "a.FGSM", "eps": ["4/255", 0.1]}) == "FGSM(eps=[4/255, 0.1])"
