import json

import pandas as pd
from PIL import Image

from paper.covid_films import write_tables


def test_films_without_a_finding_copies_and_broken_files_are_left_out(tmp_path):
    findings = {"a": "COVID-19, ARDS", "copy": "COVID-19", "b": "SARS", "todo": "todo", "cut": "SARS", "gone": "SARS"}
    (tmp_path / "images").mkdir()
    (tmp_path / "annotations").mkdir()
    for name, value in {"a": 9, "copy": 9, "b": 8, "todo": 7}.items():
        Image.new("L", (6, 4), value).save(tmp_path / f"images/{name}.png")
    (tmp_path / "images/cut.png").write_bytes((tmp_path / "images/a.png").read_bytes()[:40])
    images = [
        {
            "id": name,
            "file_name": f"{name}.png",
            "width": 6,
            "height": 4,
            "metadata": {"finding": it, "patientid": name},
        }
        for name, it in findings.items()
    ]
    boxes = {"a": [[1, 0, 2, 3], [4, 1, 1, 1]], "b": [[0, 0, 6, 4]]}
    notes = [{"image_id": name, "bbox": box} for name, several in boxes.items() for box in several]
    (tmp_path / "annotations/annotations.json").write_text(json.dumps({"images": images, "annotations": notes}))
    write_tables(tmp_path)
    films, boxes = (pd.read_csv(tmp_path / name).to_numpy().tolist() for name in ("films.csv", "boxes.csv"))
    assert films == [["images/a.png", "covid", "a"], ["images/b.png", "other", "b"]]
    assert [box[1:] for box in boxes] == [["covid", 1, 0, 2, 3], ["covid", 4, 1, 1, 1], ["other", 0, 0, 6, 4]]
    assert [*Image.open(tmp_path / "masks/a.png").tobytes()] == [0, 1, 1, 0, 0, 0, 0, 1, 1, 0, 1, 0, 0, 1, 1] + [0] * 9
