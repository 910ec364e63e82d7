"""Whose bug a bad value is: the failing op asked again elsewhere."""
