"""Evidence that is no event file: printed progress, tables, histories, what trackers keep."""
