"""Callbacks that measure under `trainer.test`: effects, maps, detection."""
