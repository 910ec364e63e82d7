"""The whole order: read, inspect, replay, inspect again, diagnose, judge, write the document."""

from forensics.pipeline.analysis import analyze

__all__ = ["analyze"]
