"""The files of a run directory: schemas, writers, readers, discovery."""
