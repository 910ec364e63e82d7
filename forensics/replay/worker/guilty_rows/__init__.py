"""The rows of the batch that make a step fail."""
