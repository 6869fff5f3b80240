"""Figures, tables and one page, from run directories alone; the loggers that get them."""
