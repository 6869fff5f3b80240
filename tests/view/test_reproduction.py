"""What is saved measures again what the page has shown: the command in dovision-evaluate, the cell in a notebook."""

import io
import shlex
import zipfile

import numpy as np
import pytest
from PIL import Image

from dovision.jobs import hydra_main, recorded_runs
from dovision.results.run_record import read_run
from dovision.results.tables import read_effects
from dovision.view.view_session import ViewSession
from made_view import packed_mask


@pytest.fixture
def session(fitted_run):
    return ViewSession(recorded_runs.of_run(fitted_run))


@pytest.fixture
def unpack(tmp_path, monkeypatch):
    """Unpacks an archive into an empty folder, in which the process then stands."""

    def into(data):
        zipfile.ZipFile(io.BytesIO(data)).extractall(tmp_path)
        monkeypatch.chdir(tmp_path)
        return tmp_path

    return into


def measured(folder, run_command, sample):
    """The effects on an image that the saved command measures."""
    words = shlex.split((folder / "command.sh").read_text())
    assert words[0] == "dovision-evaluate"
    assert run_command(hydra_main.evaluate, *words[1:], f"output_root={folder / 'out'}") == 0
    (path,) = (folder / "out").glob("view/*/run.json")
    assert read_run(path.parent).seed == 0
    return read_effects(path.parent, [sample])


@pytest.mark.parametrize(
    ("sample", "edit"),
    [
        (3, {"fill": {"name": "constant", "settings": {"value": 0.5}}}),
        (5, {"fill": {"name": "noise"}}),
        (0, {"unit": {"site": "conv1", "kind": "channel", "number": 2, "value": {"name": "mean"}}}),
    ],
)
def test_a_region_and_a_channel_of_a_run_are_measured_again_with_the_same_noise(
    session, unpack, run_command, sample, edit
):
    image = session.open_sample(sample)["image"]
    region = np.zeros((32, 32), bool)
    region[8:20, 6:17] = True
    asked = {"image": image, **edit, **({} if "unit" in edit else {"mask": packed_mask(region)})}
    rows = session.effect(asked)["rows"]
    folder = unpack(session.saved(asked))
    assert (folder / "numbers.csv").is_file()
    table = measured(folder, run_command, sample)
    assert table[table["class"] == rows[0]["name"]]["effect"].item() == pytest.approx(rows[0]["effect"], abs=1e-6)


def test_the_map_of_a_dropped_and_attacked_picture_is_measured_again(session, unpack, run_command):
    held = io.BytesIO()
    Image.radial_gradient("L").resize((40, 40)).save(held, "PNG")
    shown = session.open_picture(held.getvalue(), "a circle.png")
    attacked = session.attacked({"image": shown["image"], "attack": {"name": "fgsm", "eps": "16/255"}})
    asked = {"image": attacked["image"], "rows": 4, "fill": {"name": "mean", "settings": {}}}
    session.begin = lambda name, steps: list(steps)
    found = session.maps({**asked, "images": [attacked["image"]], "scale": "probability"})
    values = found["maps"][str(attacked["image"])]["values"]
    folder = unpack(session.saved(asked))
    table = measured(folder, run_command, sample=0)
    target = session.network.classifier.task.classes[attacked["target"]]
    own = table[(table["condition"] == "eps=16/255") & (table["class"] == target)].sort_values("unit")
    np.testing.assert_allclose(sorted(own["effect"]), sorted(values), atol=1e-6)


def test_a_run_is_opened_with_its_images_and_weights(session, fitted_run):
    choices = session.choices()
    assert (choices["shape"], len(choices["classes"])) == ([1, 32, 32], 10)
    shown = session.open_sample(0)
    table = read_effects(fitted_run, [0])
    first = table[table["condition"] == "clean"]
    by_class = first.groupby("class")["control"].first()
    for row in shown["rows"]:
        assert row["control"] == pytest.approx(by_class[row["name"]], abs=1e-6)
