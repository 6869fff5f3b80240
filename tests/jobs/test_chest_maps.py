"""The experiment chest_maps on a folder in the NIH's layout, whose boxes hold all that is bright."""

from pathlib import Path

import numpy as np
from PIL import Image

from dovision.jobs.hydra_main import evaluate as main
from dovision.results.map_summary import whole_scores
from dovision.results.run_record import read_sweep

SIDE, TEST_PATIENTS = 64, range(7, 15)
PAPER = Path(__file__).parents[2] / "paper" / "conf"
SCALE = 1024 // SIDE  # of the boxes' coordinates


def test_one_command_scores_maps_on_the_boxes(run_command, tmp_path):
    """14 films of as many patients, black but for a square of 8 pixels; the table of boxes names those of 7 to 14."""
    root = tmp_path / "nih"
    (root / "images").mkdir(parents=True)
    header = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    entries = [header + "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"]
    boxes, names = ["Image Index,Finding Label,Bbox [x,y,w,h],,,"], []
    for patient in range(1, TEST_PATIENTS.stop):
        name, left, top = f"{patient:08d}_000.png", 4 * (patient % 5) + 4, 4 * (patient % 7) + 8
        film = np.zeros((SIDE, SIDE), np.uint8)
        film[top : top + 8, left : left + 8] = 255
        Image.fromarray(film).save(root / "images" / name)
        entries.append(f"{name},{'Mass' if patient % 2 else 'Nodule'},0,{patient},50,F,PA,2500,2048,0.168,0.168,")
        if patient in TEST_PATIENTS:
            box = ",".join(str(SCALE * number) for number in (left, top, 8, 8))
            boxes.append(f"{name},{'Mass' if patient % 2 else 'Nodule'},{box}")
        names.append(name)
    (root / "Data_Entry_2017.csv").write_text("\n".join(entries) + "\n")
    (root / "BBox_List_2017.csv").write_text("\n".join(boxes) + "\n")
    (root / "train_val_list.txt").write_text("\n".join(names[:6]))
    (root / "test_list.txt").write_text("\n".join(names[6:]))
    words = ("--config-dir", str(PAPER), "experiment=chest_maps", f"dataset.root={root}", f"output_root={tmp_path}")
    small = ("dataset.shape=[1,64,64]", "dataset.classes=[Mass,Nodule]", "model=small_resnet")
    small += ("model.width=2", "training.classifier.epochs=1", "dataset.val_fraction=0.34", "explanation.cells=16")
    small += ("explainer=[brightness_map,center_map]", "explanation.num_sanity_images=0", "explanation.noise=0")
    assert run_command(main, *words, *small) == 0
    (run,) = read_sweep(tmp_path / "chest_maps")
    table = whole_scores(run.summary).set_index(["explainer", "metric"])
    assert table["maps"].unique().tolist() == [len(TEST_PATIENTS)]
    scores = table["mean"]
    for metric in ("iou", "hit_rate", "pointing", "energy"):
        assert scores["brightness_map", metric] == 1
    assert scores["center_map", "hit_rate"] == 0
    assert scores["center_map", "hit_rate"] <= scores["center_map", "pointing"]
    assert table.loc[("brightness_map", "hit_rate"), "low"] < 0.7  # of eight films
