"""The run of a dashboard that a stopped job goes on with."""

from __future__ import annotations

from pathlib import Path

from pytorch_lightning.utilities import rank_zero_only

from dovision.io import files
from dovision.io.text_files import write_text

RUN_ID = "run_id.txt"


class OpenRun:
    """Dashboard id of a job's run, kept in a file of the run directory until the job is completed.

    Args:
        save_dir: the run directory.
        service: name of the folder of the file.
    """

    def __init__(self, save_dir: str | Path, service: str) -> None:
        self._path = Path(save_dir) / service / RUN_ID

    def read(self) -> str | None:
        """Id left by an earlier start of the job; None if there is none."""
        try:
            return files.read_text(self._path).strip() or None
        except FileNotFoundError:
            return None

    @rank_zero_only
    def write(self, run_id: str) -> None:
        """Store the id for a later start."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_text(self._path, f"{run_id}\n")

    @rank_zero_only
    def close(self) -> None:
        """Remove the id, so that the next start begins a new run."""
        self._path.unlink(missing_ok=True)
