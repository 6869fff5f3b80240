"""Lightning's trainer, in silence."""

import pytorch_lightning as pl


def quiet_trainer(*callbacks: pl.Callback, **changed) -> pl.Trainer:
    """A trainer on the CPU without loggers, checkpoints, bars and inference mode; `changed` are its arguments."""
    plumbing = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary", "inference_mode")
    settings = {"accelerator": "cpu", "callbacks": list(callbacks)} | dict.fromkeys(plumbing, False) | changed
    return pl.Trainer(**settings)
