"""Where a run's headline numbers go besides its tables: one file a dashboard; a CSV file is written always."""
