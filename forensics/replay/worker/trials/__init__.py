"""Remedies that are run: one change at a time, from before the failure, against a baseline."""

from .losses import healthy_level
from .sick import SickTrials
from .trials import Trials

__all__ = ["SickTrials", "Trials", "healthy_level"]
