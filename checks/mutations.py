"""Mutation campaign: what was damaged, edited or misspelt is refused in a sentence, or read as it was.

Each kind makes something valid, changes it at random, and reads it as the program does. Counted are:

    refused    an error of use: one message, which names what is wrong
    same       the change made no difference to what was read
    other      content of another meaning was accepted
    traceback  any other error
    hang       no answer within LIMIT seconds of this process's own time, or of PATIENCE by the clock

The campaign passes if the last three are 0. Usage:

    python checks/mutations.py                      all kinds, in full
    python checks/mutations.py --quick              a hundredth of each
    python checks/mutations.py --kinds npz images   some kinds
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import logging
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from PIL import Image

from dovision.config.sources import configuration_folder
from dovision.datasets import _image_io, _nih_tables
from dovision.datasets.chest_mnist import ChestMNIST
from dovision.models import checkpoint
from dovision.models.small_cnn import small_cnn
from dovision.report import page
from dovision.store.run_record import survey
from dovision.store.schemas import with_digest
from dovision.store.tables import row_groups
from dovision.sweeps.validation import Checks

LIMIT = 20.0  # seconds of processor time for one reading: a machine with other work makes no hang
PATIENCE = 300.0  # seconds by the clock, of a reading that waits for something
BAD = ("other", "traceback", "hang")
EVALUATION = """dataset=digits training.classifier.epochs=1 training.autoencoder.epochs=1 evaluation.images=10
    evaluation.num_thumbnails=2 evaluation.store_adversarial=true intervention.rows=2 intervention.columns=2 attack=fgsm
    attack.eps=[0.1] explainer=[random_map,center_map] detector=[max_softmax,entropy]
    +attack@detection.attacks.fgsm=fgsm detection.attacks.fgsm.eps=[0.1] detection.val_images=60
    detection.test_images=20"""


class Hang(BaseException):
    """A reading took longer than LIMIT or PATIENCE."""


class Kind(ABC):
    """Something valid, how it is changed, and how it is read.

    Args:
        folder: of its own, empty.
        draw: all random choices come from it.
    """

    count: int  # of mutations in full
    refusals: tuple[type[Exception], ...] = (ValueError, OSError)

    def __init__(self, folder: Path, draw: random.Random) -> None:
        self.folder = folder
        self.draw = draw

    @abstractmethod
    def mutate(self) -> str:
        """Change the files in the folder; what was done, for a report."""

    @abstractmethod
    def read(self) -> str | None:
        """A digest of what was read; None where it was refused without an exception."""

    def expected(self) -> str:
        """The digest that a reading may have after the change."""
        return self._valid

    def begin(self) -> None:
        """Read what is valid."""
        valid = self.read()
        assert valid is not None, "what has not been changed must be read"
        self._valid = valid

    @abstractmethod
    def restore(self) -> None:
        """Undo the change."""


class FileKind(Kind):
    """One file among several, of which the bytes are changed."""

    def files(self) -> list[Path]:
        return sorted(path for path in self.folder.rglob("*") if path.is_file())

    def mutate(self) -> str:
        path = self.draw.choice(self.files())
        self._path, self._before = path, path.read_bytes()
        what, data = changed(self._before, self.draw)
        path.write_bytes(data)
        return f"{path.relative_to(self.folder)}: {what}"

    def restore(self) -> None:
        self._path.write_bytes(self._before)


def changed(data: bytes, draw: random.Random) -> tuple[str, bytes]:
    """Bytes with one change of a kind that disks, copies and people make."""
    first, second = sorted(draw.randrange(len(data) + 1) for _ in range(2))
    zero = min(second, first + 512)
    kinds: dict[str, Callable[[], bytes]] = {
        "a bit flipped": lambda: flipped(data, draw, 1),
        "eight bits flipped": lambda: flipped(data, draw, 8),
        "cut short": lambda: data[:first],
        "a part missing": lambda: data[:first] + data[second:],
        "a part zero": lambda: data[:first] + bytes(zero - first) + data[zero:],
        "a part twice": lambda: data[:second] + data[first:],
        "bytes put in": lambda: data[:first] + draw.randbytes(draw.randrange(1, 64)) + data[first:],
        "bytes at the end": lambda: data + draw.randbytes(draw.randrange(1, 64)),
        "empty": lambda: b"",
        "noise": lambda: draw.randbytes(len(data)),
    }
    what = draw.choice(list(kinds))
    return what, kinds[what]()


def flipped(data: bytes, draw: random.Random, count: int) -> bytes:
    """Bytes with some bits flipped."""
    copy = bytearray(data)
    for _ in range(count):
        copy[draw.randrange(len(copy))] ^= 1 << draw.randrange(8)
    return bytes(copy)


def digest(*parts: object) -> str:
    """A digest of tensors, arrays and plain values."""
    whole = hashlib.sha256()
    for part in parts:
        array = part.detach().numpy() if isinstance(part, torch.Tensor) else part
        if isinstance(array, np.ndarray):
            whole.update(repr((array.dtype.str, array.shape)).encode() + array.tobytes())
        else:
            whole.update(repr(part).encode())
    return whole.hexdigest()


class Checkpoints(FileKind):
    """A classifier's checkpoint."""

    count = 1500

    def __init__(self, folder: Path, draw: random.Random) -> None:
        super().__init__(folder, draw)
        arguments: dict[str, Any] = {"task": "multiclass", "classes": ["a", "b", "c"], "shape": [1, 28, 28]}
        arguments |= {"mean": [0.1], "std": [0.3]}
        settings = {"_target_": "dovision.models.small_cnn.small_cnn", **arguments}
        checkpoint.save_checkpoint(
            folder / "classifier.ckpt", small_cnn(**arguments), settings, None, {"scores": {"val": 0.5}}
        )

    def read(self) -> str:
        path = self.folder / "classifier.ckpt"
        classifier, content = checkpoint.load(path), checkpoint.read_checkpoint(path)
        return digest(*classifier.state_dict().values(), classifier.task, content["facts"], content["model"])


class Run(FileKind):
    """A run that was really made, with all tables that a run can have."""

    names: tuple[str, ...]  # patterns of the files that are changed

    def __init__(self, folder: Path, draw: random.Random) -> None:
        super().__init__(folder, draw)
        command = [str(Path(sys.executable).with_name("dovision-evaluate")), *EVALUATION.split(), "name=run"]
        subprocess.run([*command, f"output_root={folder}"], check=True, capture_output=True)
        (self.run,) = (path.parent for path in folder.rglob("run.json"))
        good = shutil.copytree(self.run, self.run.with_name("good")) / "run.json"
        facts = json.loads(good.read_text())
        good.write_text(json.dumps(with_digest({**facts, "settings": "others"})))  # or it would be told as a copy

    def files(self) -> list[Path]:
        return sorted(path for name in self.names for path in self.run.glob(name))

    def read(self) -> str | None:
        runs = {run.folder.name: run for run in survey(self.run.parent)}
        text = page.render_page("campaign", list(runs.values()), [], [])
        assert runs["good"].state == "completed", "the other run was lost"
        assert text
        own = runs.get(self.run.name)
        if own is None or own.state != "completed":
            return None
        tables = [str(table.to_pydict()) for path in sorted(self.run.rglob("*.parquet")) for table in row_groups(path)]
        return digest(*tables, own.facts, own.config, own.summary)


class Tables(Run):
    """The tables of a run."""

    count = 2500
    names = ("*.parquet",)


class Records(Run):
    """run.json, summary.json and the config of a run: their bytes, and values in them."""

    count = 400
    names = ("run.json", "summary.json", ".hydra/config.yaml")

    def mutate(self) -> str:
        if self.draw.random() < 0.3:
            return super().mutate()
        path = self.draw.choice(self.files())
        self._path, self._before = path, path.read_bytes()
        is_json = path.suffix == ".json"
        content = json.loads(self._before) if is_json else yaml.safe_load(self._before)
        what = edited(content, self.draw)
        path.write_text(json.dumps(content) if is_json else yaml.safe_dump(content))
        return f"{path.name}: {what}"


def edited(content: dict[str, Any], draw: random.Random) -> str:
    """Change one value, wherever it lies, as a hand or a program with a fault would."""
    node: Any = content
    name: Any = draw.choice(list(content))
    while isinstance(node[name], (dict, list)) and node[name] and draw.random() < 0.8:
        node = node[name]
        name = draw.choice(list(node)) if isinstance(node, dict) else draw.randrange(len(node))
    if draw.random() < 0.3:
        del node[name]
        return f"{name} removed"
    others = [None, True, -1, 1e308, "", "nan", "../..", [], {}, [[]], {"a": 1}, "<script>", 2**70]
    old, node[name] = node[name], draw.choice(others)
    return f"{name}: {str(old)[:30]!r} -> {node[name]!r}"


class Npz(FileKind):
    """A file of ChestMNIST: its bytes, and arrays that do not belong there."""

    count = 3000

    def __init__(self, folder: Path, draw: random.Random) -> None:
        super().__init__(folder, draw)
        numbers = np.random.default_rng(0)
        self._arrays: dict[str, Any] = {}
        for split, count in (("train", 6), ("val", 4), ("test", 4)):
            self._arrays[f"{split}_images"] = numbers.integers(0, 256, (count, 28, 28), dtype=np.uint8)
            self._arrays[f"{split}_labels"] = numbers.integers(0, 2, (count, 14), dtype=np.uint8)
        np.savez_compressed(folder / "chestmnist.npz", **self._arrays)

    def mutate(self) -> str:
        if self.draw.random() < 0.5:
            return super().mutate()
        (path,) = self.files()
        self._path, self._before = path, path.read_bytes()
        name = self.draw.choice(list(self._arrays))
        array = self._arrays[name]
        others: dict[str, Any] = {
            "objects": np.array([{"a": 1}] * len(array), dtype=object),
            "text": array.astype("U3"),
            "numbers with a fraction": array + 0.5,
            "an axis more": array[None],
            "a row fewer": array[1:],
            "a scalar": np.uint8(3),
            "empty": array[:0],
            "complex": array.astype(complex),
            "dates": array.astype("M8[s]"),
            "values out of range": array.astype(np.int64) - 1000,
        }
        what = self.draw.choice(list(others))
        np.savez_compressed(path, **{**self._arrays, name: others[what]})
        return f"{name}: {what}"

    def read(self) -> str:
        images = ChestMNIST(str(self.folder), "multilabel", list(_nih_tables.FINDINGS), [1, 28, 28], False, False)
        rows = [field for split in ("train", "val", "test") for item in _items(images.split(split)) for field in item]
        return digest(*rows)


def _items(split: Any) -> list[Any]:
    return [split[row] for row in range(len(split))]


class NihRows(FileKind):
    """The tables of ChestX-ray14, of which one row is changed; read as an independent reader reads it, or refused."""

    count = 6000
    HEAD = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position\n"
    BOX_HEAD = "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"

    def __init__(self, folder: Path, draw: random.Random) -> None:
        super().__init__(folder, draw)
        names = [f"{patient:08d}_{number:03d}.png" for patient in range(1, 9) for number in range(2)]
        rows = [f"{name},{LABELS_OF[i % 4]},{i % 2},{int(name[:8])},05{i % 9}Y,F,PA" for i, name in enumerate(names)]
        (folder / "Data_Entry_2017.csv").write_text(self.HEAD + "\n".join(rows) + "\n")
        boxes = [f"{names[i]},{label},{10.5 * i},512,255.9,128" for i, label in ((3, "Mass"), (7, "Infiltrate"))]
        (folder / "BBox_List_2017.csv").write_text(self.BOX_HEAD + "\n".join(boxes) + "\n")

    def mutate(self) -> str:
        path = self.draw.choice(self.files())
        self._path, self._before = path, path.read_bytes()
        lines = self._before.decode().splitlines()
        number = self.draw.randrange(1, len(lines))
        cells = lines[number].split(",")
        place = self.draw.randrange(len(cells))
        words = ["", "x", "nan", "inf", "-1", "1e400", "0", "12.5", "Infiltrate", "Mass|Mass", "No Finding|Mass"]
        words += ["mass", "Mass|", "é", '"', "1,2", "../../x.png", " 7", "9" * 20, "00000001_000.png", "\u0661"]
        kinds: dict[str, Callable[[], list[str]]] = {
            "a cell": lambda: [",".join([*cells[:place], self.draw.choice(words), *cells[place + 1 :]])],
            "a cell missing": lambda: [",".join([*cells[:place], *cells[place + 1 :]])],
            "a cell more": lambda: [lines[number] + ",7"],
            "a letter": lambda: [_letter(lines[number], self.draw)],
            "twice": lambda: [lines[number]] * 2,
            "gone": list,
            "blank": lambda: [""],
        }
        what = self.draw.choice(list(kinds))
        new = kinds[what]()
        path.write_text("\n".join([*lines[:number], *new, *lines[number + 1 :]]) + "\n")
        return f"{path.name} line {number + 1}: {what}: {new}"

    def read(self) -> str:
        entries = _nih_tables.read_entries(self.folder)
        boxes = _nih_tables.read_finding_boxes(self.folder, entries["name"])
        labels = _nih_tables.label_matrix(entries["findings"], _nih_tables.FINDINGS)
        of_image = [sorted(np.flatnonzero(row).tolist()) for row in labels]
        rows = list(zip(entries["name"], of_image, entries["patient"].tolist(), strict=True))
        edges = boxes[["name", "label", "top", "left", "bottom", "right"]].to_numpy().tolist()
        return digest(rows, edges)

    def expected(self) -> str:
        """What the rows mean, read cell by cell; anything else than the program's reading is a fault of one of them."""
        rows = []
        for cells in list(csv.reader(io.StringIO((self.folder / "Data_Entry_2017.csv").read_text())))[1:]:
            if cells:
                findings = [word for word in cells[1].split("|") if word != _nih_tables.HEALTHY]
                numbers = sorted(
                    {_nih_tables.FINDINGS.index(word) for word in findings if word in _nih_tables.FINDINGS}
                )
                rows.append((cells[0], numbers, int(cells[3])))
        edges = []
        for cells in list(csv.reader(io.StringIO((self.folder / "BBox_List_2017.csv").read_text())))[1:]:
            if cells:
                left, top, width, height = (float(cell) for cell in cells[2:6])
                label = cells[1].replace("Infiltrate", "Infiltration")
                whole = [int(np.round(edge)) for edge in (top, left, top + height, left + width)]
                edges.append([cells[0], label, *whole])
        return digest(rows, edges)


LABELS_OF = ("No Finding", "Atelectasis|Mass", "Infiltration", "Pleural_Thickening")


def _letter(line: str, draw: random.Random) -> str:
    place = draw.randrange(len(line))
    return line[:place] + draw.choice("0a,|._ \t;") + line[place + 1 :]


class Images(FileKind):
    """A PNG of each mode, whose bytes are changed, and JPEG, TIFF, BMP and GIF, which are cut short or grow."""

    count = 2000

    def __init__(self, folder: Path, draw: random.Random) -> None:
        super().__init__(folder, draw)
        numbers = np.random.default_rng(0)
        colour = numbers.integers(0, 256, (24, 20, 3), dtype=np.uint8)
        for mode in ("L", "RGB", "RGBA", "P", "LA"):
            Image.fromarray(colour).convert(mode).save(folder / f"{mode}.png")
        Image.fromarray(numbers.integers(0, 65536, (24, 20), dtype=np.uint16)).save(folder / "I16.png")
        for form in ("jpg", "tiff", "bmp", "gif"):
            Image.fromarray(colour).save(folder / f"colour.{form}")

    def mutate(self) -> str:
        path = self._path = self.draw.choice(self.files())
        self._before = path.read_bytes()
        self._pixels = _image_io.pixels(path, 3)
        if path.suffix == ".png":
            what, data = changed(self._before, self.draw)
        else:  # these have no checksums: a changed byte is another picture
            what, data = "cut short", self._before[: self.draw.randrange(len(self._before) * 9 // 10)]
        path.write_bytes(data)
        return f"{path.name}: {what}"

    def expected(self) -> str:
        return digest(self._pixels)

    def begin(self) -> None:
        self._path = self.files()[0]

    def read(self) -> str:
        _image_io.decoded_size(self._path.read_bytes())
        return digest(_image_io.pixels(self._path, 3))


class Overrides(Kind):
    """Command lines, of which one override is changed; what is accepted must be what the configuration then says."""

    count = 2000
    refusals = (ValueError, OSError, HydraException, OmegaConfBaseException)
    BASES: tuple[tuple[str, str], ...] = (
        ("evaluate", "dataset=digits model=small_cnn intervention=pixel_grid intervention.rows=2 evaluation.images=12"),
        ("evaluate", "attack=pgd attack.eps=[0.1,0.2] attack.steps=3 fill@intervention.fill=mean seed=1 threads=1"),
        (
            "evaluate",
            "explainer=[random_map,center_map] explanation.cells=8 evaluation.num_thumbnails=2 trainer.accelerator=cpu",
        ),
        ("evaluate", "dataset=phantom dataset.shortcut=0.5 dataset.shape=[1,64,64] intervention=counterfactual"),
        ("evaluate", "experiment=demo evaluation.batch_size=8 on_failure=stop logger=csv num_workers=0"),
        ("train", "dataset=digits model=small_resnet training.classifier.epochs=1 seed=3"),
        ("train", "dataset=digits autoencoder=conv_1x1 autoencoder.after=relu1 training.autoencoder.epochs=1"),
        ("report", "sweep=outputs/x details=3 log_to=wandb"),
    )

    def begin(self) -> None:
        self._checks = {command: Checks(command) for command, _ in self.BASES}
        self._made: dict[str, Any] = {}
        for command, text in self.BASES:
            self._command, self._overrides, self._changed = command, text.split(), 0
            assert self.read() == self.expected(), (command, text)

    def mutate(self) -> str:
        self._command, text = self.draw.choice(self.BASES)
        overrides = text.split()
        place = self._changed = self.draw.randrange(len(overrides))
        key, _, value = overrides[place].partition("=")
        words = ["", "null", "-1", "0", "1e400", "nan", "[1,2]", "true", "{a: 1}", "${nope}", "../../x", "a b", "1/0"]
        words += ["x" * 300, "[", "'", "none", "1.5", "8/255", "\u0661", "[digits,mnist]"]
        kinds: dict[str, Callable[[], str]] = {
            "key misspelt": lambda: f"{misspelt(key, self.draw)}={value}",
            "value misspelt": lambda: f"{key}={misspelt(value, self.draw)}",
            "another value": lambda: f"{key}={self.draw.choice(words)}",
            "added": lambda: f"+{key}={value}",
            "forced": lambda: f"++{key}={self.draw.choice(words)}",
            "removed": lambda: f"~{key}",
            "a key below": lambda: f"{self.draw.choice(('', '+', '++'))}{key}.{misspelt(key, self.draw)}={value}",
            "no value": lambda: key,
            "a new key": lambda: f"{self.draw.choice(('+', '++'))}{misspelt(key.replace('.', '_'), self.draw)}={value}",
        }
        what = self.draw.choice(list(kinds))
        overrides[place] = kinds[what]()
        self._overrides = overrides
        return f"{self._command} {what}: {overrides}"

    def read(self) -> str:
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(configuration_folder()), version_base="1.3"):
            try:
                config = compose(self._command, self._overrides, return_hydra_config=True)
            except TypeError as error:  # of OmegaConf, where a key stands below a list; the command makes it a sentence
                raise ValueError(str(error)) from error
            self._checks[self._command](config, self._overrides, config.hydra.runtime.choices)
            self._made = OmegaConf.to_container(OmegaConf.masked_copy(config, [k for k in config if k != "hydra"]))
            self._choices = dict(config.hydra.runtime.choices)
        return self._asked(self._found)

    def expected(self) -> str:
        return self._asked(lambda key, value: _plain(value))

    def restore(self) -> None:
        self._made = {}

    def _asked(self, answer: Callable[[str, str], str]) -> str:
        """Each override's key with an answer; of a removal nothing is asked."""
        asked = [override.partition("=") for override in self._overrides if not override.startswith("~")]
        return digest([(key, answer(key, value)) for key, _, value in asked])

    def _found(self, override: str, value: str) -> str:
        key = override.lstrip("+")
        group, _, package = key.partition("@")
        if group in self._choices or key in self._choices:
            return _plain(str(self._choices[key if key in self._choices else group]))
        if (configuration_folder() / group).is_dir():
            names, asked = list(self._made.get(group) or {}), value.strip("[]").split(",")
            added = override.startswith("+") and set(asked) <= set(names)  # to those that are there already
            return _plain(value if added else f"[{','.join(names)}]")
        node: Any = self._made
        for name in (package or key).split("."):
            node = node[name]
        return _plain(str(node))


def misspelt(word: str, draw: random.Random) -> str:
    """A word with one letter gone, twice, changed or moved."""
    if not word:
        return "x"
    place = draw.randrange(len(word))
    left, letter, right = word[:place], word[place], word[place + 1 :]
    return draw.choice(
        [left + right, left + letter * 2 + right, left + draw.choice("xz_") + right, right + letter + left]
    )


def _plain(text: str) -> str:
    """A value as text, without what YAML and Python write differently."""
    text = text.strip().replace(" ", "").replace("'", "").replace('"', "")
    with suppress(ValueError):
        return repr(float(text))
    return {"null": "None", "true": "True", "false": "False"}.get(text, text)


KINDS: dict[str, type[Kind]] = {
    "checkpoints": Checkpoints,
    "tables": Tables,
    "records": Records,
    "npz": Npz,
    "nih_rows": NihRows,
    "images": Images,
    "overrides": Overrides,
}


def outcome(kind: Kind) -> tuple[str, str]:
    """What became of one reading, and the error if there was one."""

    def give_up(signum: int, frame: FrameType | None) -> None:
        raise Hang

    timers = ((signal.SIGPROF, signal.ITIMER_PROF, LIMIT), (signal.SIGALRM, signal.ITIMER_REAL, PATIENCE))
    for number, timer, seconds in timers:
        signal.signal(number, give_up)
        signal.setitimer(timer, seconds)
    try:
        found = kind.read()
    except kind.refusals as error:
        return ("refused", str(error)) if str(error).strip() else ("traceback", traceback.format_exc())
    except Hang:
        return "hang", ""
    except Exception:
        return "traceback", traceback.format_exc()
    finally:
        for _, timer, _ in timers:
            signal.setitimer(timer, 0)
    if found is None:
        return "refused", ""
    try:
        return ("same" if found == kind.expected() else "other"), ""
    except (ValueError, IndexError) as error:  # an independent reader can make nothing of it
        return "other", str(error)


def campaign(name: str, count: int, seed: int) -> Counter[str]:
    """The outcomes of so many mutations of a kind; bad ones are printed."""
    draw, found = random.Random(f"{name} {seed}"), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        kind = KINDS[name](Path(folder), draw)
        kind.begin()
        for number in range(count):
            what = kind.mutate()
            result, error = outcome(kind)
            kind.restore()
            found[result] += 1
            if result in BAD:
                print(f"  {name} {number}: {result} after {what}\n{error}", flush=True)
    return found


def main() -> None:
    """Run the campaign, print a row a kind, and exit with 1 unless it passes."""
    parser = argparse.ArgumentParser(description="Mutation campaign; see the head of this file.")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--quick", action="store_true", help="a hundredth of each kind")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    failed = False
    for name in chosen.kinds:
        count = KINDS[name].count // (100 if chosen.quick else 1)
        found = campaign(name, count, chosen.seed)
        failed = failed or any(found[result] for result in BAD)
        numbers = ", ".join(f"{result} {found[result]}" for result in ("refused", "same", *BAD))
        print(f"{name}: {count} mutations: {numbers}", flush=True)
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
