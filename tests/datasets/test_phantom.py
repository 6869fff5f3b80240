"""The phantom: its causal structure, its true counterfactuals, and that it is the same each time."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import dovision as dv
from dovision.datasets._phantom_patient import draw_patient
from dovision.datasets.phantom import Phantom, object_boxes, removable_objects, render_film
from dovision.types import Box


def phantom(images=40, **settings) -> Phantom:
    counts = dict.fromkeys(("train_images", "val_images", "test_images"), images)
    return dv.component("dataset", "phantom", {"shape": [1, 64, 64], **counts, **settings})


KINDS = {"label": "kinds", "task": "multilabel", "classes": ["nodule", "opacity"]}
samples = st.tuples(st.integers(0, 5), st.integers(0, 2), st.integers(0, 500))
few = settings(max_examples=25, deadline=None)


@few
@given(samples, st.sampled_from([64, 96]))
def test_a_film_without_an_object_differs_inside_the_objects_box_only_and_on_each_of_its_edges(key, size):
    patient = draw_patient(*key, shortcut=0.5)
    film = render_film(patient, size)
    for obj, box in object_boxes(patient, size).items():
        changed = (render_film(patient, size, without=[obj]) != film)[0]
        rows, columns = changed.any(1).nonzero(), changed.any(0).nonzero()
        assert Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1) == box


@few
@given(samples)
def test_without_all_lesions_the_film_is_that_of_the_same_patient_in_health(key):
    patient = draw_patient(*key, shortcut=0.5)
    lesions = [obj for obj in removable_objects(patient) if obj not in ("tag", "rib")]
    assert len(lesions) == len(patient.lesions)
    assert bool(lesions) == patient.disease
    healthy = patient._replace(disease=False, lesions=())
    assert torch.equal(render_film(patient, 64, without=lesions), render_film(healthy, 64))


def test_the_disease_alone_changes_with_the_shortcut():
    for sample in range(50):
        honest, biased = draw_patient(0, 0, sample, 0.0), draw_patient(0, 0, sample, 1.0)
        assert biased.disease == biased.hospital == honest.hospital
        assert biased.tag == honest.tag
        assert biased.anatomy == honest.anatomy


@pytest.mark.parametrize("shortcut", [0.0, 0.6, 1.0])
def test_tag_and_disease_correlate_as_strongly_as_the_shortcut_says(shortcut):
    table = phantom(shortcut=shortcut, test_shortcut=0.0, images=800, seed=3).table("train")
    assert (table["tag"] == table["hospital"]).all()
    assert ((table["nodule"] + table["opacity"] > 0) == (table["disease"] == 1)).all()
    correlation = table["tag"].corr(table["disease"])
    assert correlation == pytest.approx(shortcut, abs=3 * ((1 - shortcut**2) / 800) ** 0.5)


def test_a_film_depends_on_seed_split_and_row_alone():
    first, again = phantom(), phantom(images=10)
    for row in (3, 9, 0):
        assert torch.equal(first.source("val").image(row), again.source("val").image(row))
    assert not torch.equal(first.source("val").image(0), first.source("test").image(0))
    assert not torch.equal(first.source("val").image(0), phantom(seed=1).source("val").image(0))
    assert first.fingerprint == phantom().fingerprint != phantom(seed=1).fingerprint


def test_the_two_labels_tell_the_same_patients_differently():
    disease, kinds = (phantom(**settings).source("train") for settings in ({}, KINDS))
    assert torch.equal(disease.label, kinds.label.amax(1).long())
    assert len(kinds.label.unique(dim=0)) == 4
    assert torch.equal(disease.image(0), kinds.image(0))


@pytest.mark.parametrize(
    ("facts", "labels_of"),
    [({}, {"nodule": {"disease"}, "opacity": {"disease"}}), (KINDS, {"nodule": {"nodule"}, "opacity": {"opacity"}})],
)
def test_lesions_speak_for_a_class_that_their_sample_has_and_tag_and_rib_for_none(facts, labels_of):
    dataset = phantom(**facts)
    table = dataset.boxes("test")
    kinds = table["object"].str.rstrip("0123456789")
    assert {kind: set(table["label"][kinds == kind]) for kind in labels_of} == labels_of
    assert table["label"][kinds.isin(["tag", "rib"])].isna().all()
    for row in table.dropna().itertuples():
        label = dataset.split("test")[row.sample].label
        spoken = dataset.task.classes.index(row.label)
        assert label[spoken] if dataset.task.multilabel else label == spoken


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"label": "diseases"}, "label must be one of disease, kinds, got 'diseases'. Did you mean disease"),
        ({"label": "kinds"}, "task must be multilabel for label=kinds, got 'multiclass'. Use dataset.task=multilabel"),
        ({"label": "kinds", "task": "multilabel"}, r"classes must be .*got \['healthy', 'disease'\]. Use"),
        ({"shape": [3, 64, 64]}, r"shape must be what the data say, \[1, 64, 64\], got \[3, 64, 64\]"),
        ({"shape": [1, 32, 32]}, r"the phantom's height must be a number in \[64, 224\], got 32"),
        ({"shortcut": 1.5}, r"shortcut must be a number in \[0, 1\], got 1.5"),
        ({"test_shortcut": -1}, r"test_shortcut must be a number in \[0, 1\], got -1"),
        ({"images": 0}, "train_images must be a whole number of at least 1, got 0"),
    ],
)
def test_wrong_arguments_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        phantom(**wrong)
