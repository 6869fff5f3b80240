"""Write the tables and masks of lungs of the COVID-19 films whose lungs were boxed, beside their images:

python -m paper.covid_films FOLDER

FOLDER is a copy of github.com/GeneralBlockchain/covid-19-chest-xray-lung-bounding-boxes-dataset (CC BY 4.0; films of
Cohen et al., arXiv:2006.11988). Films without a finding yet, those that cannot be read and copies are left out.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
from PIL import Image, ImageDraw


def write_tables(folder: Path) -> None:
    """Write films.csv, boxes.csv, and below masks/ a mask of both lungs' boxes for each film, of 0 and 1.

    Args:
        folder: of images/ and annotations/annotations.json.
    """
    notes = json.loads((folder / "annotations/annotations.json").read_text())
    (folder / "masks").mkdir(exist_ok=True)
    films, boxes, seen = [], [], set()
    for image in notes["images"]:
        path, about = Path("images", image["file_name"]), image["metadata"]
        if about["finding"] in ("todo", "Unknown") or not _readable(folder / path):
            continue
        content = (folder / path).read_bytes()
        if content in seen:
            continue
        seen.add(content)
        label = "covid" if "COVID-19" in about["finding"] else "other"
        films.append({"path": path, "label": label, "patient": about["patientid"]})
        lungs = Image.new("L", (image["width"], image["height"]))
        for note in (note for note in notes["annotations"] if note["image_id"] == image["id"]):
            x, y, width, height = note["bbox"]
            boxes.append({"path": path, "label": label, "x": x, "y": y, "width": width, "height": height})
            ImageDraw.Draw(lungs).rectangle([x, y, x + width - 1, y + height - 1], fill=1)
        lungs.save(folder / "masks" / f"{path.stem}.png")
    pd.DataFrame(films).to_csv(folder / "films.csv", index=False)
    pd.DataFrame(boxes).to_csv(folder / "boxes.csv", index=False)


def _readable(path: Path) -> bool:
    try:
        Image.open(path).load()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    write_tables(Path(sys.argv[1]))
