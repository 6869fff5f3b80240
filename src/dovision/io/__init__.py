"""Reading and writing of files: whole or not there, within a budget, and nothing in them that runs."""
