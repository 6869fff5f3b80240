"""Figures by topic: from runs to a figure with its caption."""
