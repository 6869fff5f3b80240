"""Images of any dataset are decoded once, in shards: the same images to 8 bits, also after a kill and a change."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import dovision as dv
from dovision.datasets import _image_io
from dovision.datasets.readers import decoded_store
from made_birds import write_birds
from made_libraries import hf_parts, write_films
from made_medical import write_dicom

SPLITS = ("train", "val", "test")


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(decoded_store, "SHARD_IMAGES", 8)


def write_table(root, count=40):
    random = np.random.default_rng(0)
    for number in range(count):
        Image.fromarray(random.integers(0, 256, (30, 26), dtype=np.uint8)).save(root / f"{number}.png")
    rows = [{"path": f"{number}.png", "label": ("cat", "dog")[number % 2]} for number in range(count)]
    pd.DataFrame(rows).to_csv(root / "metadata.csv", index=False)
    return {"root": str(root), "classes": ["cat", "dog"], "shape": [1, 20, 20]}


def write_folders(root):
    write_table(root)
    (root / "metadata.csv").unlink()
    for number in range(40):
        folder = root / ("cat", "dog")[number % 2]
        folder.mkdir(exist_ok=True)
        (root / f"{number}.png").rename(folder / f"{number}.png")
    return {"root": str(root), "classes": ["cat", "dog"], "shape": [3, 20, 20]}


def write_hub(root):
    pytest.importorskip("datasets")
    hf_parts(train=40).save_to_disk(str(root / "own"))
    return {"root": str(root / "own"), "classes": ["cat", "dog"], "shape": [3, 20, 24]}


def write_xrv(root):
    pytest.importorskip("torchxrayvision")
    arguments = write_films(root)
    return {"name": "NIH_Dataset", "arguments": arguments, "classes": ["Mass", "Effusion"], "shape": [1, 32, 32]}


KINDS = {"table": write_table, "image_folder": write_folders, "hf_dataset": write_hub, "xrv": write_xrv}


def images(data) -> torch.Tensor:
    return torch.stack([data.split(name)[row].image for name in SPLITS for row in range(len(data.split(name)))])


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_has_the_images_of_the_dataset_to_8_bits(kind, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    settings = KINDS[kind](tmp_path / "data")
    if kind == "hf_dataset":
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    plain = dv.component("dataset", kind, settings)
    stored = {**settings, "store": str(tmp_path / "store")}
    before = dv.component("dataset", kind, stored)
    assert before.recorded["images_from_store"] is False
    before.prepare()
    assert before.recorded == {"images_in_store": len(plain.records)}
    after = dv.component("dataset", kind, stored)
    assert after.recorded["images_from_store"] is True
    count = len(plain.records)
    assert len(list((tmp_path / "store").rglob("*.npy"))) == -(-count // 8) > 1
    torch.testing.assert_close(images(after), images(plain), atol=0.5 / 255 + 1e-6, rtol=0)
    for split in SPLITS:
        pd.testing.assert_frame_equal(after.table(split), plain.table(split))
    assert len({plain.content, before.content, after.content}) == 3
    assert after.fingerprint != plain.fingerprint
    read = pickle.loads(pickle.dumps(after.split("test")))  # as reading processes have it
    assert torch.equal(read[0].image, after.split("test")[0].image)


def test_pictures_without_classes_are_stored(tmp_path):
    root = tmp_path / "photos"
    root.mkdir()
    for number in range(10):
        level = np.full((30, 26, 3), 20 * number, np.uint8)
        Image.fromarray(level).save(root / f"{number}.png")
    settings = {"root": str(root), "shape": [3, 20, 20]}
    plain, stored = (
        dv.component("dataset", "pictures", {**settings, **more}) for more in ({}, {"store": str(tmp_path)})
    )
    stored.prepare()
    after = dv.component("dataset", "pictures", {**settings, "store": str(tmp_path)})
    assert after.recorded == {"images_from_store": True}
    for row in range(10):
        found, expected = after.source("test").image(row), plain.source("test").image(row)
        torch.testing.assert_close(found, expected, atol=0.5 / 255, rtol=0)
    assert len({plain.fingerprint, stored.fingerprint, after.fingerprint}) == 3
    Image.new("RGB", (26, 30), (7, 7, 7)).save(root / "3.png")
    assert (
        dv.component("dataset", "pictures", {**settings, "store": str(tmp_path)}).recorded["images_from_store"] is False
    )


def test_birds_are_stored_with_those_that_lack_a_part(tmp_path, monkeypatch):
    settings = {"root": str(write_birds(tmp_path / "birds")), "classes": ["0", "1"], "shape": [3, 32, 32]}
    plain, stored = (
        dv.component("dataset", "funnybirds", {**settings, **more}) for more in ({}, {"store": str(tmp_path / "store")})
    )
    stored.prepare()
    after = dv.component("dataset", "funnybirds", {**settings, "store": str(tmp_path / "store")})
    assert after.recorded["images_from_store"] is True
    monkeypatch.setattr(_image_io, "image_from_file", lambda *_, **__: pytest.fail("a file is read"))
    drawn = [(row, obj) for row in range(4) for obj in after.source_objects("test", row)]
    found = [after.source_counterfactual("test", row, obj) for row, obj in drawn]
    boxes, pictures = after.source_boxes("test"), images(after)
    monkeypatch.undo()
    assert torch.equal(torch.stack(found), torch.stack([plain.source_counterfactual("test", *own) for own in drawn]))
    assert torch.equal(pictures, images(plain))
    pd.testing.assert_frame_equal(boxes, plain.source_boxes("test"))
    assert len({plain.fingerprint, stored.fingerprint, after.fingerprint}) == 3


def test_a_kill_loses_a_shard_at_most_and_the_same_command_makes_the_rest(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    stored = {**write_table(tmp_path / "data"), "store": str(tmp_path / "store")}
    data = dv.component("dataset", "table", stored)
    read, seen = data.read_record, []

    def killed(place):
        seen.append(place)
        if place >= 20:
            raise KeyboardInterrupt
        return read(place)

    monkeypatch.setattr(data, "read_record", killed)
    monkeypatch.setattr(data, "threads", 1)
    with pytest.raises(KeyboardInterrupt):
        data.prepare()
    again = dv.component("dataset", "table", stored)
    assert again.recorded["images_from_store"] is False
    whole = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*.npy")}
    assert sorted(path.name[:5] for path in whole) == ["00000", "00001"]
    again.prepare()
    made = list((tmp_path / "store").rglob("*.npy"))
    assert len(made) == 5
    assert all(path.stat().st_mtime_ns == time for path, time in whole.items())
    assert dv.component("dataset", "table", stored).recorded["images_from_store"] is True


def test_a_changed_file_is_decoded_again_with_its_shard_alone(tmp_path, caplog):
    (tmp_path / "data").mkdir()
    stored = {**write_table(tmp_path / "data"), "store": str(tmp_path / "store")}
    path = tmp_path / "data" / "11.png"
    Image.new("L", (26, 30), 100).save(path, compress_level=0)
    old = path.stat()
    dv.component("dataset", "table", stored).prepare()
    before = {path.name for path in (tmp_path / "store").rglob("*.npy")}
    Image.new("L", (26, 30), 200).save(path, compress_level=0)
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (old.st_size, old.st_mtime_ns)
    changed = dv.component("dataset", "table", stored)
    assert changed.recorded["images_from_store"] is False
    changed.prepare()
    after = {path.name for path in (tmp_path / "store").rglob("*.npy")}
    assert len(after) == 5
    assert {name[:5] for name in after - before} == {"00001"}
    data = dv.component("dataset", "table", stored)
    place = data.records["name"].tolist().index("11.png")
    assert torch.equal(data.from_store([place])(0), torch.full((1, 20, 20), 200 / 255))


def test_films_of_dicom_are_stored_through_their_window(tmp_path):
    rows, root = [], tmp_path / "data"
    root.mkdir()
    for number in range(20):
        write_dicom(root / f"{number}.dcm", np.arange(400).reshape(20, 20) * (number + 1))
        rows.append({"path": f"{number}.dcm", "label": ("cat", "dog")[number % 2]})
    pd.DataFrame(rows).to_csv(root / "metadata.csv", index=False)
    settings = {
        "root": str(root),
        "classes": ["cat", "dog"],
        "shape": [1, 20, 20],
        "store": str(tmp_path / "store"),
    }
    settings |= {"val_fraction": 0.2, "test_fraction": 0.2}
    dv.component("dataset", "table", {**settings, "window": [2000, 4000]}).prepare()
    assert dv.component("dataset", "table", settings).recorded["images_from_store"] is False
    assert dv.component("dataset", "table", {**settings, "window": [2000, 4000]}).recorded["images_from_store"] is True


def test_a_store_that_is_not_named_and_bad_images_are_told(tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    settings = write_table(root)
    with pytest.raises(ValueError, match=r"dataset.store must be set .* got None. Such as dataset.store=data/decoded"):
        dv.component("dataset", "table", settings).prepare()
    for number in (3, 31):  # which are not among those that are decoded at start
        content = bytearray((root / f"{number}.png").read_bytes())
        content[200] ^= 255  # behind the header
        (root / f"{number}.png").write_bytes(content)
    stored = {**settings, "check": "headers", "store": str(tmp_path / "store")}
    with pytest.raises(ValueError, match=r"each image must be whole, got 2 bad; shards without one are made:\n.*3.png"):
        dv.component("dataset", "table", stored).prepare()
    assert len(list((tmp_path / "store").rglob("*.npy"))) == 3


def test_a_shard_that_was_cut_off_is_made_again(tmp_path):
    (tmp_path / "data").mkdir()
    stored = {**write_table(tmp_path / "data"), "store": str(tmp_path / "store")}
    dv.component("dataset", "table", stored).prepare()
    opened = dv.component("dataset", "table", stored)
    path = sorted((tmp_path / "store").rglob("*.npy"))[1]
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(ValueError, match="Make it again"):
        opened.from_store([8])(0)
    opened.prepare()
    assert path.read_bytes() == whole
    path.write_bytes(whole[:-100])
    again = dv.component("dataset", "table", stored)
    assert again.recorded["images_from_store"] is False
    again.prepare()
    assert path.read_bytes() == whole


def test_shapes_and_datasets_of_one_store_leave_each_other_alone(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        settings = {**write_table(tmp_path / name), "store": str(tmp_path / "store")}
    rows = pd.read_csv(tmp_path / "b" / "metadata.csv")
    rows.iloc[::-1].to_csv(tmp_path / "b" / "other.csv", index=False)
    several = [
        settings,
        {**settings, "root": str(tmp_path / "a")},
        {**settings, "shape": [1, 16, 16]},
        {**settings, "manifest": "other.csv"},
        {**settings, "classes": ["dog", "cat"]},
    ]
    for each in several:
        dv.component("dataset", "table", each).prepare()
    opened = [dv.component("dataset", "table", each) for each in several]
    assert all(data.recorded["images_from_store"] for data in opened)
    assert len({data.store.folder for data in opened}) == len(several)
    for path in opened[0].store.paths:
        path.unlink()
    message = "a store must stay as it was when it was opened, but .*npy is gone. Run dovision-prepare again"
    with pytest.raises(FileNotFoundError, match=message):
        opened[0].split("test")[0]
    assert opened[1].split("test")[0].image.std() > 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("made", [False, True])
def test_a_store_in_a_folder_of_the_dataset_is_refused(kind, made, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    settings = KINDS[kind](tmp_path / "data")
    if kind == "hf_dataset":
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    store = Path(settings["root"] if "root" in settings else settings["arguments"]["imgpath"]) / "decoded"
    if made:
        store.mkdir()
    with pytest.raises(ValueError, match="store must be a folder outside .*, got .*decoded. Set dataset.store"):
        dv.component("dataset", kind, {**settings, "store": str(store)})
