"""What a step looked like, for the report."""
