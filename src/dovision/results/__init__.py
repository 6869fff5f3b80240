"""What a run leaves behind, and all that is drawn from it: tables, numbers, figures, one page."""
