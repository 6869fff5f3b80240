"""Figures, tables and one page, from run directories alone."""
