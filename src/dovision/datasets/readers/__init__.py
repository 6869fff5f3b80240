"""Readers of files: tables, labels, boxes, masks, DICOM and NIfTI; shared by datasets of files."""
