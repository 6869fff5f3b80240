"""A reader study: blinded pairs in a drawn order, and no answer lost."""

import base64
import csv

import numpy as np
import pandas as pd
import pytest
import torch

from dovision.view import study as study_module
from dovision.view.study import Study
from made_view import with_corner, write_study


@pytest.fixture
def begin(opened, tmp_path):
    """Opens the study as a reader; one that was opened before is closed, as at the end of its process."""
    begun = []

    def open_study(reader="anna", **changes):
        for earlier in begun:
            earlier._lock.release()
        begun.append(Study(write_study(tmp_path, opened, **changes), reader, lambda folder: with_corner(opened)))
        return begun[-1]

    yield open_study
    for earlier in begun:
        earlier._lock.release()


def given(study, answer=0, **changes):
    """An answer to the pair that is shown."""
    return {"item": study.pair()["item"], "answer": answer, "seconds": 2.5, "window": 1, "level": 0.5, **changes}


def written(study):
    with study.table.open() as file:
        return list(csv.DictReader(file))


def grey(side):
    return np.frombuffer(base64.b64decode(side["grey"]), "<u2").reshape(8, 8) / 65535


def test_a_pair_shows_the_film_with_and_without_and_maps_over_it_and_names_neither(begin, opened):
    study, seen = begin(), 0
    for number, item in enumerate(study.items):
        study.rows = [{"item": str(other)} for other in range(len(study.items)) if other != number]
        pair = study.pair()
        assert pair["item"] == number
        text = repr(pair)
        assert not any(word in text for word in ("corner", "map:", "digit", "run"))
        image = opened.images.split("test").batch([item.sample]).image[0, 0].numpy()
        for side, name in zip(pair["sides"], item.sides, strict=True):
            without = image.copy()
            without[:4, :4] = 0.5
            np.testing.assert_allclose(grey(side), without if name == "do:corner" else image, atol=1e-5)
            assert ("over" in side) == name.startswith("map:")
            seen += 1
    assert seen == 10


def test_order_and_sides_are_drawn_by_seed_and_reader(begin):
    def drawn(**given):
        study = begin(**given)
        return study.order, [item.sides for item in study.items]

    first = drawn(samples=8)
    assert drawn(samples=8) == first
    assert sorted(first[0]) == list(range(10)) != first[0]
    assert 0 < sum(sides == ("map:a", "map:b") for sides in first[1]) < 8
    for other in (drawn(samples=8, reader="ben"), drawn(samples=8, seed=2)):
        assert other[0] != first[0]
        assert other[1] != first[1]


def test_answers_are_on_the_disk_before_the_next_pair_and_resume(begin):
    study = begin()
    first = study.pair()["item"]
    following = study.answer(given(study, answer=2))
    (row,) = written(study)
    assert following["item"] == study.order[1] != first
    assert (row["answer"], row["chosen"], row["reader"]) == ("right", study.items[first].sides[1], "anna")
    assert (row["left"], row["right"]) == study.items[first].sides
    again = begin()
    assert (again.pair()["item"], again.pair()["done"]) == (following["item"], 1)
    for _ in range(4):
        last = again.answer(given(again))
    assert "sides" not in last
    assert len(written(again)) == 5
    effects = pd.DataFrame({"run": "run", "sample": [0, 1, 2], "effect": [0.1, 0.2, 0.3]})
    joined = pd.read_csv(again.table).merge(effects, on=["run", "sample"])
    assert len(joined) == 5
    assert joined["effect"].sum() == pytest.approx(0.1 * 2 + 0.2 + 0.3 * 2)


def test_an_answer_that_cannot_be_written_is_asked_for_again(begin, monkeypatch):
    study = begin()
    study.answer(given(study))
    answer = given(study)

    def full(path, text):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(study_module, "write_text", full)
        with pytest.raises(OSError, match="No space left"):
            study.answer(answer)
    assert (study.pair()["item"], len(written(study))) == (answer["item"], 1)
    study.answer(answer)
    assert len(written(study)) == 2


def test_an_answer_that_is_sent_twice_is_written_once(begin):
    study = begin()
    answer = given(study)
    assert study.answer(answer) == study.answer({**answer, "answer": 1})
    assert [row["answer"] for row in written(study)] == ["left"]


def test_answers_of_another_study_and_of_another_process_are_left_alone(begin, opened):
    study = begin()
    study.answer(given(study))
    before = study.table.read_bytes()
    with pytest.raises(ValueError, match=r"study-anna.csv is open in another dovision-view"):
        Study(study.table.with_name("study.yaml"), "anna", lambda folder: with_corner(opened))
    with pytest.raises(ValueError, match=r"study-anna.csv has answers of another study"):
        begin(seed=7)
    with pytest.raises(ValueError, match=r"study-anna.csv has answers of another study"):
        begin(cells=(1, 1, 0, 0))  # of a run that was measured again under the same path
    assert study.table.read_bytes() == before
    begin().table.write_text(before.decode().replace("item", "pair", 1))
    with pytest.raises(ValueError, match=r"study-anna.csv has answers of another study"):
        begin()


def test_a_run_that_was_changed_since_it_ended_is_refused(opened, tmp_path, monkeypatch):
    file = write_study(tmp_path, opened)
    (first := tmp_path / "run").rename(tmp_path / "real")
    first.symlink_to(tmp_path / "real")

    def begun(reader):
        return Study(file, reader, lambda folder: with_corner(opened))

    assert {item.run.name for item in begun("anna").items} == {"real"}  # and not the link's name
    with monkeypatch.context() as patch:
        patch.setattr(opened.images, "content", "others")
        with pytest.raises(ValueError, match=r"real must be a completed run .*, but the images are others. Run its"):
            begun("ben")
    with (first / "maps.parquet").open("ab") as table:
        table.write(b" ")
    with pytest.raises(ValueError, match=r"but maps.parquet has .* bytes"):
        begun("carl")


def test_runs_of_one_name_are_refused_since_the_table_could_not_tell_them_apart(opened, tmp_path):
    pairs = [{"run": str(tmp_path / name / "run"), "show": ["map:a", "map:b"], "samples": 1} for name in "ab"]
    for name in "ab":
        file = write_study(tmp_path / name, opened, pairs=pairs)
    with pytest.raises(ValueError, match="runs must have different names"):
        Study(file, "anna", lambda folder: with_corner(opened))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pears": 1}, "pears: Extra inputs are not permitted"),
        ({"pairs": 3}, "study.yaml: pairs: .* valid list, got '3'"),
        ({"pairs": [{"run": "a"}]}, "pairs.0.show: Field required"),
        ({"pairs": [{"run": "a", "show": ["image"], "samples": 1}]}, "pairs.0.show.1: Field required"),
        (
            {"pairs": [{"run": "a", "show": ["image", "film"], "samples": 1}]},
            "show.1: .* match pattern .*, got 'film'",
        ),
        (
            {"pairs": [{"run": "a", "show": ["image", "do:x"], "samples": 0}]},
            "samples.* (greater than 0|valid list)",
        ),
        ({"pairs": [{"run": "run", "show": ["image", "do:x"], "samples": 1}]}, "do: must be one of corner, got 'x'"),
        ({"pairs": [{"run": "run", "show": ["image", "map:c"], "samples": 1}]}, "no map 'c' of sample 0, only of a, b"),
        ({"pairs": [{"run": "run", "show": ["image", "do:corner"], "samples": [8]}]}, "samples must be .* from 0 to 7"),
        ({"answers": ["yes"]}, "answers: .* at least 2 items"),
        ({"answers": ["left", "left"]}, "answers must differ, got left, left"),
        ({"pairs": []}, "pairs: .* at least 1 item"),
        ({"pairs": [{"run": "a", "show": ["image", "do:x"], "samples": []}]}, "samples.* at least 1 item"),
        ({"seed": -1}, "seed"),
        ({"reader": "../x"}, "reader must be a short name"),
        ({"reader": None}, "reader must be a short name .*, got None. Set reader=NAME"),
    ],
)
def test_a_study_that_is_none_is_refused_in_a_sentence(begin, monkeypatch, tmp_path, changes, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        begin(**changes)


@pytest.mark.parametrize("key", ["item", "answer"])
def test_an_answer_to_no_pair_is_refused(begin, key):
    study = begin()
    with pytest.raises(ValueError, match=f"{key} must be a whole number from 0 to"):
        study.answer(given(study, **{key: 9}))
    assert not study.table.exists()


def test_a_colour_image_is_shown_as_it_is(begin, opened, monkeypatch):
    split = opened.images.split("test")
    batch = split.batch([0])
    coloured = batch._replace(image=torch.rand(1, 3, 8, 8))
    monkeypatch.setattr(type(split), "batch", lambda self, samples: coloured)
    assert begin().pair()["sides"][0].keys() & {"grey", "picture"} == {"picture"}


def test_no_window_tells_a_grey_film_from_one_that_was_painted_in_colour(begin, monkeypatch):
    films = {"image": torch.eye(8).repeat(3, 1, 1), "do:corner": torch.rand(3, 8, 8)}
    monkeypatch.setattr(study_module._Run, "_image", lambda self, batch, side: films[side])
    study = begin()
    study.rows = [{"item": str(number)} for number in range(3)]
    assert [set(side) for side in study.pair()["sides"]] == [{"picture"}, {"picture"}]
