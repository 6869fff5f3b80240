from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import dovision
from made_libraries import write_films

with pytest.MonkeyPatch.context() as patch:
    patch.setattr("warnings.filterwarnings", lambda *args, **kwargs: None)  # the library silences all warnings
    xrv = pytest.importorskip("torchxrayvision")


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> dict[str, str]:
    return write_films(tmp_path_factory.mktemp("films"))


def opened(arguments, name="NIH_Dataset", **settings):
    own = {"name": name, "arguments": arguments, "classes": ["Effusion", "Mass"], "shape": [1, 48, 48]}
    return dovision.component("dataset", "xrv", {**own, **settings})


def test_films_labels_and_patients_are_the_librarys_own(films):
    data, library = opened(films), xrv.datasets.NIH_Dataset(**films)
    seen = {}
    for split in ("train", "val", "test"):
        table = data.table(split)
        for sample in range(len(table)):
            name, item = table["name"][sample], data.split(split)[sample]
            (row,) = np.flatnonzero(library.csv["Image Index"] == name)
            expected = torch.from_numpy(library[row]["img"] / 2048 + 0.5).float()
            torch.testing.assert_close(item.image, expected)
            pixels = np.asarray(Image.open(Path(films["imgpath"]) / name)) / 255
            np.testing.assert_allclose(item.image[0], pixels, atol=1e-6)
            own = [library.pathologies.index(each) for each in data.task.classes]
            assert item.label.tolist() == library.labels[row][own].tolist()
            assert table["group"][sample] == library.csv["patientid"][row]
            seen[name] = split
    assert len(seen) == len(library) == 40


def test_numpys_generator_is_as_before(films):
    np.random.seed(3)  # noqa: NPY002
    expected = np.random.rand()  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    opened(films)
    assert np.random.rand() == expected  # noqa: NPY002


def test_masks_of_pathologies_are_those_of_the_librarys_boxes(films):
    data = opened({**films, "pathology_masks": True})
    found = {
        name: data.masks(split, sample)
        for split in ("train", "val", "test")
        for sample, name in enumerate(data.table(split)["name"])
    }
    ((name, masks),) = ((name, own) for name, own in found.items() if own)
    assert name == "00000001_000.png"
    expected = np.zeros((48, 48), bool)
    expected[9:23, 4:22] = True  # of 1,024 pixels: 200 to 500 and 100 to 500
    np.testing.assert_array_equal(masks["Effusion"], expected)


def test_a_mask_that_the_crop_leaves_nothing_of_is_none(films, monkeypatch):
    data = opened({**films, "pathology_masks": True})
    corner = np.zeros((1, 48, 96), np.float32)
    corner[0, :4, :4] = 1  # left of the centre, which a square image keeps
    sample = {"img": corner, "pathology_masks": {data.read.library.pathologies.index("Effusion"): corner}}
    monkeypatch.setattr(type(data.read.library), "__getitem__", lambda library, number: sample)
    assert data.masks("test", 0) == {}


@pytest.fixture
def chexpert(tmp_path) -> dict[str, str]:
    """CheXpert's layout, in which labels may be empty, and -1 where a reader was not sure."""
    rows = []
    for patient in range(30):
        path = f"train/patient{patient:05}/study1/view1_frontal.jpg"
        (tmp_path / path).parent.mkdir(parents=True)
        Image.new("L", (40, 40), patient).save(tmp_path / path)
        row = {"Path": f"CheXpert-v1.0-small/{path}", "Sex": "Male", "Age": 40, "Frontal/Lateral": "Frontal"}
        rows.append(
            {**row, "AP/PA": "PA", "No Finding": None, "Edema": patient % 2, "Pneumonia": (1, 0, -1)[patient % 3]}
        )
    pd.DataFrame(rows).to_csv(tmp_path / "train.csv", index=False)
    return {"imgpath": str(tmp_path), "csvpath": str(tmp_path / "train.csv")}


def test_unknown_labels_are_refused_left_out_or_taken_for_absent_as_is_asked_for(chexpert):
    own = {"name": "CheX_Dataset", "classes": ["Edema", "Pneumonia"]}
    with pytest.raises(
        ValueError, match=r"10 of 30 films have no label of some class, such as Pneumonia of film 2.*absent"
    ):
        opened(chexpert, **own)
    counts = {}
    for policy in ("leave_out", "absent"):
        data = opened(chexpert, **own, unknown_labels=policy)
        labels = torch.cat([data.source(split).label for split in ("train", "val", "test")])
        counts[policy] = (len(labels), labels.sum(0).tolist())
    assert counts == {"leave_out": (20, [10, 10]), "absent": (30, [15, 10])}
    assert len(opened(chexpert, name="CheX_Dataset", classes=["Edema"]).split("test")) == 5


def test_classes_are_found_where_none_are_named(chexpert):
    from dovision.datasets.xrv import Xrv

    found = Xrv.found_classes({"name": "CheX_Dataset", "arguments": chexpert})
    assert found == ["Edema", "Pneumonia"]  # of the others nothing is known


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "NIH_Datset"}, "name must be one of .* Did you mean NIH_Dataset"),
        ({"name": "MergeDataset"}, "name must be one of"),
        ({"classes": ["Effusion", "Cat"]}, "each class must be one of .*, got 'Cat'"),
        ({"task": "multiclass"}, "task must be multilabel"),
        ({"shape": [2, 48, 48]}, "1 .grey. or 3 .RGB. channels"),
        ({"unknown_labels": "skip"}, "unknown_labels must be one of error, leave_out, absent"),
        ({"val_fraction": 0.0}, "val has none of 40"),
    ],
)
def test_wrong_settings_are_refused(films, change, message):
    with pytest.raises(ValueError, match=message):
        opened(films, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"imgpath": "nowhere"}, "arguments.imgpath must be a folder or file that exists, got nowhere"),
        ({"imgpaht": "."}, "has no key 'imgpaht'. Did you mean imgpath"),
        ({"transform": "x"}, "has no key 'transform'"),
        ({"csvpath": __file__}, "NIH_Dataset refuses its arguments: "),
    ],
)
def test_wrong_arguments_are_refused(films, change, message):
    with pytest.raises(ValueError, match=message):
        opened({**films, **change})


def test_a_missing_film_is_named(films, tmp_path):
    with pytest.raises(ValueError, match=r"image 0 of NIH_Dataset cannot be read"):
        opened({**films, "imgpath": str(tmp_path)})


@pytest.mark.parametrize("path", ["../outside.png", "/etc/outside.png", "a/../../b.png"])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path, path):
    films = write_films(tmp_path)
    table = pd.read_csv(films["csvpath"])
    table.loc[3, "Image Index"] = path
    table.to_csv(films["csvpath"], index=False)
    with pytest.raises(ValueError, match="Image Index of NIH_Dataset must name files below arguments.imgpath, got"):
        opened(films)
