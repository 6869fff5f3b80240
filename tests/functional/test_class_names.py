"""Classes meet the names of weights' outputs, whatever spells them."""

import pytest
from torchvision.models._meta import _IMAGENET_CATEGORIES as TORCHVISION

from dovision.functional import class_names
from dovision.functional.class_names import class_positions
from dovision.models._published import of_names, outputs_of
from dovision.types import Task

data = pytest.importorskip("timm.data")
INFO = data.ImageNetInfo("imagenet-1k")
WNIDS = INFO.label_names()
WORDS = [INFO.index_to_description(place) for place in range(1000)]
FIRST = [words.partition(",")[0] for words in WORDS]
SPELLINGS = {
    "wnids": WNIDS,
    "weights of torchvision": TORCHVISION,
    "weights of timm": of_names(FIRST).classes,
    "weights of Hugging Face": of_names(WORDS).classes,
    "LOC_synset_mapping.txt": [
        f"{name} ({wnid})" if FIRST.count(name) > 1 else name for name, wnid in zip(FIRST, WNIDS, strict=True)
    ],
    "folders of both": [f"{wnid}_{name.replace(' ', '_')}" for name, wnid in zip(FIRST, WNIDS, strict=True)],
}


@pytest.mark.parametrize("names", SPELLINGS)
@pytest.mark.parametrize("classes", SPELLINGS)
def test_imagenets_classes_meet_in_every_spelling(classes, names):
    assert class_positions(SPELLINGS[classes], SPELLINGS[names]) == list(range(1000))
    some = [0, 134, 517, 263, 474, 999]  # two cranes, and a Cardigan and a cardigan
    if classes.startswith(("wnids", "folders", "LOC")):
        assert class_positions([SPELLINGS[classes][place] for place in some], SPELLINGS[names]) == some


def test_names_that_are_not_imagenets_meet_by_their_text_alone():
    assert class_positions(["dog", "owl", "n09999999"], ["cat", "dog", "n0999"]) == [1, None, None]
    assert class_positions(["cat", "dog"], ["cat", "dog", "dog"]) == [0, None]  # twice is not found


def test_without_timm_written_numbers_meet(monkeypatch):
    monkeypatch.setattr(class_names, "_imagenet", lambda: ([], []))
    assert class_positions(["n02012849", "crane"], ["a (n03126707)", "b (n02012849)"]) == [1, None]


def test_ten_folders_of_imagenet_keep_the_outputs_of_weights():
    task = Task("multiclass", tuple(WNIDS[10:20]))
    assert outputs_of("the weights", TORCHVISION, 1000, task, False) == list(range(10, 20))
