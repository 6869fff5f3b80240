"""The script of docs/how-to/lightning.md, on one device and on two."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "how-to" / "lightning.md").read_text()
SCRIPT = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1]
ONE, TWO = 'accelerator="cpu", ', 'accelerator="cpu", devices=2, strategy="ddp", '
RESULT = """    if trainer.is_global_zero:
        import json
        from pathlib import Path
        Path("result.json").write_text(json.dumps(trainer.callback_metrics, default=float))
"""


def run(folder: Path, script: str) -> dict[str, Any]:
    """What `trainer.test` has logged in a script of its own process, without the module's loss."""
    folder.mkdir()
    (folder / "script.py").write_text(script + RESULT)
    done = subprocess.run([sys.executable, "script.py"], cwd=folder, capture_output=True, text=True, timeout=300)
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
