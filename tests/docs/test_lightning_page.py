"""The script of docs/how-to/lightning.md, and effects of a fitted network in any module, on one device and two."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dovision.results.run_record import read_sweep

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "how-to" / "lightning.md").read_text()
SCRIPT = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1]
ONE, TWO = 'accelerator="cpu", ', 'accelerator="cpu", devices=2, strategy="ddp", '
RESULT = """    if trainer.is_global_zero:
        import json
        from pathlib import Path
        Path("result.json").write_text(json.dumps(trainer.callback_metrics, default=float))
"""
OWN = """
import sys
import pytorch_lightning as pl
from torch.utils.data import DataLoader
import dovision as dv
from dovision.datasets.digits import Digits


class Own(pl.LightningModule):
    def __init__(self, classifier):
        super().__init__()
        self.body, self.mean, self.std = classifier.network, float(classifier.mean), float(classifier.std)

    def forward(self, image):
        return self.body((image - self.mean) / self.std)

    def test_step(self, batch, batch_idx):
        pass


if __name__ == "__main__":
    images = Digits("multiclass", list("0123456789"), [1, 32, 32], 0.15, 0.25, 0)
    effects = dv.EffectEvaluation(intervention=dv.PixelGrid(2, 2), attack=dv.FGSM([0.1, "16/255"]), folder="effects")
    trainer = pl.Trainer(accelerator="cpu", inference_mode=False, logger=False, callbacks=[effects])
    split = images.split("test")
    loader = DataLoader([tuple(split[sample][:2]) for sample in range(12)], 5)
    trainer.test(Own(dv.load(sys.argv[1])), loader)
"""


def run(folder: Path, script: str, *arguments: str) -> dict[str, Any]:
    """What `trainer.test` has logged in a script of its own process, without the module's loss."""
    folder.mkdir()
    (folder / "script.py").write_text(script + RESULT)
    done = subprocess.run(
        [sys.executable, "script.py", *arguments], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {name: value for name, value in json.loads((folder / "result.json").read_text()).items() if name != "loss"}


@pytest.mark.long
def test_the_script_of_the_page_logs_the_same_effects_on_one_device_and_on_two(tmp_path):
    one = run(tmp_path / "one", SCRIPT)
    two = run(tmp_path / "two", SCRIPT.replace(ONE, TWO))  # of 101 images one is repeated
    assert two == pytest.approx(one, abs=1e-6)
    named = set(re.findall(r"`([a-z_]+/(?:clean|eps=0\.1))`", PAGE))
    assert len(named) == 5
    assert named <= set(one)
    files = sorted(path.name for path in (tmp_path / "two" / "effects").iterdir())
    assert files == ["effect_sums.parquet", "effects.parquet", "samples.parquet"]


@pytest.mark.long
@pytest.mark.parametrize("devices", [ONE, TWO], ids=["one device", "two devices"])
def test_a_module_of_ones_own_has_the_effects_of_the_command(devices, fitted, tmp_path):
    (made,) = read_sweep(fitted / "evaluate")
    (checkpoint,) = (fitted / "checkpoints").rglob("classifier.ckpt")
    logged = run(tmp_path / "own", OWN.replace(ONE, devices), str(checkpoint))
    compared = 0
    for condition, found in made.summary["conditions"].items():
        for metric, interval in found.items():
            if f"{metric}/{condition}" in logged:
                compared += 1
                if interval is not None:  # as that of fewer than 5 attacked images is
                    assert logged[f"{metric}/{condition}"] == pytest.approx(interval["estimate"], abs=1e-6)
    assert compared == len([name for name in logged if not name.startswith("average_effect/")]) > 12
