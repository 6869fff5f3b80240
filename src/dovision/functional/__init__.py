"""Pure functions of tensors and tables: effects, agreement of maps, intervals, geometry, detection metrics."""
