"""Evidence that is no event file: text, tables and trackers' exports, as curves."""
