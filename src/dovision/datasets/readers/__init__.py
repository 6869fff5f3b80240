"""Readers of files: tables, labels, boxes, masks and DICOM; shared by datasets of files."""
