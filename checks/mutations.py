"""Mutation campaign: a damaged checkpoint, table, record or npz file is refused in a sentence, or read as it was.

Each kind makes something valid, changes bytes of it at random, and reads it as the program does. Counted are:

    refused    an error of use: one message, which names what is wrong
    same       the change made no difference to what was read
    other      content of another meaning was accepted
    traceback  any other error
    hang       no answer within LIMIT seconds of this process's own time, or of PATIENCE by the clock

The campaign passes if the last three are 0. Usage:

    python checks/mutations.py                       all kinds, in full
    python checks/mutations.py --quick               a hundredth of each
    python checks/mutations.py --kinds npz tables    some kinds
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import numpy as np
import torch

from dovision.io.mask_files import npz_mask
from dovision.models import checkpoint
from dovision.models.small_cnn import small_cnn
from dovision.report import page
from dovision.results.run_record import survey
from dovision.results.schemas import with_digest
from dovision.results.tables import row_groups

LIMIT = 20.0  # seconds of processor time for one reading: a machine with other work makes no hang
PATIENCE = 300.0  # seconds by the clock, of a reading that waits for something
BAD = ("other", "traceback", "hang")
EVALUATION = """dataset=digits training.classifier.epochs=1 training.autoencoder.epochs=1 evaluation.images=10
    evaluation.num_thumbnails=2 intervention.rows=2 intervention.columns=2 attack=fgsm
    attack.eps=[0.1] explainer=[random_map,center_map] detector=[max_softmax,entropy]
    +attack@detection.attacks.fgsm=fgsm detection.attacks.fgsm.eps=[0.1] detection.val_images=60
    detection.test_images=20 name=run"""


class Hang(BaseException):
    """A reading took longer than LIMIT or PATIENCE."""


class Mutated(NamedTuple):
    """Something valid whose bytes are changed."""

    count: int  # of mutations in full
    write: Callable[[Path], None]  # into an empty folder
    read: Callable[[Path], str | None]  # a digest of what was read; None where it was refused without an exception
    files: tuple[str, ...]  # patterns of the files that are changed


def changed(data: bytes, draw: random.Random) -> tuple[str, bytes]:
    """Bytes with one change of a kind that disks, copies and people make."""
    first, second = sorted(draw.randrange(len(data) + 1) for _ in range(2))
    zero = min(second, first + 512)
    changes: dict[str, Callable[[], bytes]] = {
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
    what = draw.choice(list(changes))
    return what, changes[what]()


def flipped(data: bytes, draw: random.Random, count: int) -> bytes:
    """Bytes with some bits flipped."""
    copy = bytearray(data)
    for _ in range(count):
        copy[draw.randrange(len(copy))] ^= 1 << draw.randrange(8)
    return bytes(copy)


def digest(*values: object) -> str:
    """A digest of tensors and plain values."""
    whole = hashlib.sha256()
    for value in values:
        if isinstance(value, torch.Tensor):
            whole.update(repr((value.dtype, value.shape)).encode() + value.detach().numpy().tobytes())
        else:
            whole.update(repr(value).encode())
    return whole.hexdigest()


def write_checkpoint(folder: Path) -> None:
    arguments: dict[str, Any] = {"task": "multiclass", "classes": ["a", "b", "c"], "shape": [1, 28, 28]}
    arguments |= {"mean": [0.1], "std": [0.3]}
    settings = {"_target_": "dovision.models.small_cnn.small_cnn", **arguments}
    path = folder / "classifier.ckpt"
    checkpoint.save_checkpoint(path, small_cnn(**arguments), settings, None, {"scores": {"val": 0.5}})


def read_checkpoint(folder: Path) -> str:
    path = folder / "classifier.ckpt"
    classifier, content = checkpoint.load(path), checkpoint.read_checkpoint(path)
    return digest(*classifier.state_dict().values(), classifier.task, content["facts"], content["model"])


def write_runs(folder: Path) -> None:
    """Write a run with all tables that a run can have, in `changed`, and another one beside it, in `good`."""
    command = [str(Path(sys.executable).with_name("dovision-evaluate")), *EVALUATION.split()]
    subprocess.run([*command, f"output_root={folder}"], check=True, capture_output=True)
    (made,) = (path.parent for path in folder.rglob("run.json"))
    run = shutil.move(made, folder / "runs" / "changed")
    record = shutil.copytree(run, folder / "runs" / "good") / "run.json"
    content = json.loads(record.read_text())
    record.write_text(json.dumps(with_digest({**content, "settings": "others"})))  # or it would be told as a copy


def read_runs(folder: Path) -> str | None:
    runs = {run.folder.name: run for run in survey(folder / "runs")}
    assert page.render_page("campaign", list(runs.values()), [], [])
    assert runs["good"].state == "completed", "the other run was lost"
    run = runs.get("changed")
    if run is None or run.state != "completed":
        return None
    tables = sorted((folder / "runs" / "changed").rglob("*.parquet"))
    return digest(*(str(rows.to_pydict()) for path in tables for rows in row_groups(path)), run.record, run.summary)


def write_npz(folder: Path) -> None:
    masks = np.random.default_rng(0).integers(0, 2, (2, 64, 64)).astype(bool)
    np.savez_compressed(folder / "masks.npz", left=masks[0], right=masks[1])


def read_npz(folder: Path) -> str:
    return digest(*(npz_mask(folder / "masks.npz", name) for name in ("left", "right")))


MUTATED = {
    "checkpoints": Mutated(1500, write_checkpoint, read_checkpoint, ("*.ckpt",)),
    "tables": Mutated(2500, write_runs, read_runs, ("runs/changed/**/*.parquet",)),
    "records": Mutated(400, write_runs, read_runs, ("runs/changed/run.json", "runs/changed/summary.json")),
    "npz": Mutated(3000, write_npz, read_npz, ("*.npz",)),
}


def outcome(read: Callable[[Path], str | None], folder: Path, valid: str | None) -> tuple[str, str]:
    """What became of one reading, and the error if there was one."""

    def give_up(signum: int, frame: FrameType | None) -> None:
        raise Hang

    timers = ((signal.SIGPROF, signal.ITIMER_PROF, LIMIT), (signal.SIGALRM, signal.ITIMER_REAL, PATIENCE))
    for number, timer, seconds in timers:
        signal.signal(number, give_up)
        signal.setitimer(timer, seconds)
    try:
        content = read(folder)
        return "refused" if content is None else "same" if content == valid else "other", ""
    except (ValueError, OSError) as error:
        return ("refused", str(error)) if str(error).strip() else ("traceback", traceback.format_exc())
    except Hang:
        return "hang", ""
    except Exception:
        return "traceback", traceback.format_exc()
    finally:
        for _, timer, _ in timers:
            signal.setitimer(timer, 0)


def campaign(name: str, count: int, seed: int) -> Counter[str]:
    """The outcomes of so many mutations of a kind; bad ones are printed."""
    draw, outcomes, mutated = random.Random(f"{name} {seed}"), Counter[str](), MUTATED[name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        mutated.write(folder)
        valid = mutated.read(folder)
        assert valid is not None, "what has not been changed must be read"
        files = sorted(path for pattern in mutated.files for path in folder.glob(pattern))
        for number in range(count):
            path = draw.choice(files)
            content = path.read_bytes()
            what, data = changed(content, draw)
            path.write_bytes(data)
            result, error = outcome(mutated.read, folder, valid)
            path.write_bytes(content)
            outcomes[result] += 1
            if result in BAD:
                print(f"  {name} {number}: {result} after {path.name}: {what}\n{error}", flush=True)
    return outcomes


def main() -> None:
    """Run the campaign, print a row a kind, and exit with 1 unless it passes."""
    parser = argparse.ArgumentParser(description="Mutation campaign; see the head of this file.")
    parser.add_argument("--kinds", nargs="+", default=list(MUTATED), choices=list(MUTATED))
    parser.add_argument("--quick", action="store_true", help="a hundredth of each kind")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    failed = False
    for name in options.kinds:
        count = MUTATED[name].count // (100 if options.quick else 1)
        outcomes = campaign(name, count, options.seed)
        failed = failed or any(outcomes[result] for result in BAD)
        numbers = ", ".join(f"{result} {outcomes[result]}" for result in ("refused", "same", *BAD))
        print(f"{name}: {count} mutations: {numbers}", flush=True)
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
