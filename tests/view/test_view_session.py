"""Questions of the page and their answers."""

import io

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import dovision as dv
from dovision.types import BOX_COLUMNS
from dovision.view.view_session import ViewSession
from made_view import packed_mask


@pytest.fixture
def session(opened):
    return ViewSession(opened)


@pytest.fixture
def cell():
    """The cell r1c0 of a grid of 4 x 2 on 8 x 8 pixels, as the page sends it."""
    mask = np.zeros((8, 8), bool)
    mask[2:4, :4] = True
    return packed_mask(mask)


def test_a_brush_moves_the_probabilities_as_the_cell_of_the_notebook_does(session, opened, cell):
    shown = session.open_sample(3)
    asked = {"image": shown["image"], "mask": cell, "fill": {"name": "constant", "settings": {"value": 0.25}}}
    answer = session.effect(asked)
    batch = opened.images.split("test").batch([3])
    whole = dv.effect_map(opened.classifier, batch.image, dv.PixelGrid(4, 2, dv.Constant(0.25)))
    for row in answer["rows"]:
        assert row["effect"] == pytest.approx(float(whole.effect[0, 2, row["number"]]), abs=1e-6)
        assert row["treated"] - row["control"] == pytest.approx(row["effect"])
    assert answer["seen"].startswith("data:image/png;base64,")
    assert shown["rows"][0]["name"] == str(int(batch.label))


def test_the_map_in_the_background_is_that_of_the_notebook_in_both_scales(session, opened):
    shown = session.open_sample(0)
    asked = {"images": [shown["image"]], "rows": 4, "fill": {"name": "mean"}, "scale": "probability"}
    begun = []
    session.begin = lambda name, steps: begun.append(steps)
    session.maps(asked)
    next(begun[0])
    part = session.maps(asked)
    assert sum(value is not None for value in part["maps"][str(shown["image"])]["values"]) == 2
    assert not part["done"]
    for _ in begun[0]:
        pass
    assert len(begun) == 1
    batch = opened.images.split("test").batch([0])
    whole = dv.effect_map(opened.classifier, batch.image, dv.PixelGrid(4, 4, dv.Mean()))
    target = int(whole.target[0])
    found = session.maps(asked)
    assert found["done"]
    values = found["maps"][str(shown["image"])]["values"]
    np.testing.assert_allclose(values, whole.effect[0, :, target], atol=1e-6)
    assert found["limit"] == pytest.approx(max(map(abs, values)))
    odds = session.maps({**asked, "scale": "log_odds"})["maps"][str(shown["image"])]["values"]
    treated = (whole.control[0] + whole.effect[0])[:, target].double()
    expected = treated.logit() - whole.control[0, target].double().logit()
    np.testing.assert_allclose(odds, expected, atol=1e-3)


def test_a_channel_of_a_site_is_set(session, opened):
    shown = session.open_sample(1)
    assert session.sites()["relu"] == [16, 6, 6]
    assert session.units("relu") == {"channel": 16, "position": 36}
    unit = {"site": "relu", "kind": "channel", "number": 5, "value": {"name": "zero"}}
    rows = session.effect({"image": shown["image"], "unit": unit})["rows"]
    batch = opened.images.split("test").batch([1])
    whole = dv.effect_map(opened.classifier, batch.image, dv.Activation("relu", "channel", choose=[5]))
    assert rows[0]["effect"] == pytest.approx(float(whole.effect[0, 0, rows[0]["number"]]), abs=1e-6)


def test_the_null_of_a_stroke_is_of_the_same_shape_elsewhere_and_all_fills_are_measured(session, opened, cell):
    session.begin = lambda name, steps: list(steps)
    shown = session.open_sample(3)
    fill = {"name": "constant", "settings": {"value": 0.25}}
    asked = {"image": shown["image"], "mask": cell, "fill": fill, "scale": "probability", "classes": [0, 7]}
    found = session.around(asked)
    batch, mask = opened.images.split("test").batch([3]), torch.zeros(8, 8, dtype=torch.bool)
    mask[2:4, :4] = True
    brush = dv.Brush(mask, dv.Constant(0.25), controls=20, seed=0)
    whole = dv.effect_map(opened.classifier, batch, brush)
    assert found["done"]
    assert found["controls"] == 20
    for number in (0, 7):
        controls = whole.effect[0, 1:, number]
        assert found["bands"][str(number)] == pytest.approx([float(controls.min()), float(controls.max())], abs=1e-6)
    effects = {one["name"]: one["effect"] for one in found["others"]}
    assert set(effects) == {"blur", "constant", "inpaint", "mean", "noise", "transformed"}
    assert effects["constant"] == pytest.approx(float(whole.effect[0, 0, shown["predicted"]]), abs=1e-6)
    mean = dv.effect_map(opened.classifier, batch, dv.Brush(mask, dv.Mean()))
    assert effects["mean"] == pytest.approx(float(mean.effect[0, 0, shown["predicted"]]), abs=1e-6)
    all_but_one = np.ones((8, 8), bool)
    all_but_one[0, 0] = False
    nowhere = session.around({**asked, "mask": packed_mask(all_but_one)})
    assert (nowhere["controls"], nowhere["bands"]) == (0, {})


def test_units_of_a_site_are_ranked_by_effect_and_other_units_are_the_null(session, opened):
    session.begin = lambda name, steps: list(steps)
    shown = session.open_sample(1)
    unit = {"site": "relu", "kind": "channel", "number": 5, "value": {"name": "zero"}}
    asked = {"image": shown["image"], "unit": unit, "scale": "probability"}
    found = session.ranking(asked)
    batch = opened.images.split("test").batch([1])
    whole = dv.effect_map(opened.classifier, batch, dv.Activation("relu", "channel"))
    effects = whole.effect[0, :, shown["predicted"]]
    assert (found["done"], found["measured"], len(found["ranked"])) == (True, 16, 16)
    for one in found["ranked"]:
        assert one["effect"] == pytest.approx(float(effects[one["number"]]), abs=1e-6)
    sizes = [abs(one["effect"]) for one in found["ranked"]]
    assert sizes == sorted(sizes, reverse=True)
    around = session.around({**asked, "classes": [1]})
    assert around["controls"] == 20
    assert {one["name"] for one in around["others"]} == {"zero", "mean", "noise"}
    wrong = session.ranking({**asked, "unit": {**unit, "kind": "head"}})
    assert "head" in wrong["problem"]


def test_objects_of_an_image_can_be_set(session, opened, monkeypatch):
    boxes = pd.DataFrame([[0, "tag", "A", 1, 2, 3, 5], [0, "tag 2", "A", 4, 4, 4, 4]], columns=BOX_COLUMNS)
    monkeypatch.setattr(type(opened.images), "boxes", lambda self, split: boxes)
    ((region),) = session.open_sample(0)["regions"]
    mask = np.zeros((8, 8), bool)
    mask[1:3, 2:5] = True
    assert region == {"name": "tag", "mask": packed_mask(mask)}
    assert session.open_sample(1)["regions"] == []


def test_an_attacked_image_stands_beside_the_clean_one(session, opened):
    shown = session.open_sample(2)
    attack = {"name": "fgsm", "eps": "32/255"}
    found = session.attacked({"image": shown["image"], "attack": attack})
    assert found["image"] != shown["image"]
    batch = opened.images.split("test").batch([2])
    attacked = dv.component("attack", "fgsm", {"eps": "32/255"})(batch, opened.classifier)
    assert torch.equal(session.images[found["image"]].effects.batch.image, attacked)
    row = next(row for row in found["rows"] if row["number"] == shown["predicted"])
    assert row["treated"] < row["control"]
    same = session.attacked({"image": shown["image"], "attack": {"name": "fgsm", "eps": 0}})
    assert same["image"] == shown["image"]


@pytest.mark.parametrize(("mode", "cropped"), [("cover", True), ("stretch", False)])
def test_a_dropped_picture_is_resized_as_the_networks_images_are(session, opened, monkeypatch, mode, cropped):
    way = dv.Resize(mode, interpolation="bicubic")
    monkeypatch.setattr(opened.images, "resize", way, raising=False)
    held, picture = io.BytesIO(), Image.linear_gradient("L").resize((20, 16)).rotate(30)
    picture.save(held, "PNG")
    shown = session.open_picture(held.getvalue(), "ramp.png")
    assert torch.equal(session.images[shown["image"]].effects.batch.image, dv.to_batch(picture, 8, 1, way))
    assert shown["cropped"] == cropped
    texts = session.texts({"image": shown["image"], "rows": 2, "fill": {"name": "mean"}})
    assert f"'dataset.resize={{mode:{mode},interpolation:bicubic}}'" in texts["command"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"image": 99}, "not open any more"),
        ({"image": 1, "mask": packed_mask(np.zeros((8, 8))), "fill": {"name": "mean"}}, "must have a pixel"),
        ({"image": 1, "mask": packed_mask(np.ones((9, 9))), "fill": {"name": "mean"}}, "8 x 8 pixels"),
        ({"image": 1, "rows": 2, "fill": {"name": "mist"}}, "fill must be"),
        ({"image": 1, "mask": packed_mask(np.ones((8, 8))), "fill": {"name": "inpaint"}}, "must have pixels around it"),
        ({"image": 1, "unit": {"site": "rely", "kind": "channel", "number": 0, "value": {"name": "zero"}}}, "relu"),
        ({"image": 1, "unit": {"site": "code", "kind": "channel", "number": 0, "value": {"name": "zero"}}}, "autoenc"),
        ({"image": 1, "unit": {"site": "relu", "kind": "channel", "number": 16, "value": {"name": "zero"}}}, "choose"),
    ],
)
def test_bad_questions_are_answered_in_a_sentence(session, asked, message):
    session.open_sample(0)
    with pytest.raises(ValueError, match=message):
        session.effect(asked)


def test_a_file_that_is_no_picture_is_named(session):
    with pytest.raises(ValueError, match=r"notes.txt must be a whole image, but is not readable"):
        session.open_picture(b"not a picture", "notes.txt")


def test_the_last_images_are_held_and_the_clean_one_outlives_its_attacks(session):
    clean = session.open_sample(0)["image"]
    for _ in range(12):
        session.attacked({"image": clean, "attack": {"name": "fgsm", "eps": "8/255"}})
    shown = session.effect({"image": clean, "mask": packed_mask(np.ones((8, 8))), "fill": {"name": "mean"}})
    assert shown["rows"]
    numbers = [session.open_sample(sample)["image"] for sample in (0, 1, 2, 3, 4, 5, 6, 7, 0)]
    assert list(session.images) == numbers[1:]
