"""Remedies that are run: one change at a time, from before the failure, against a baseline."""

from .sick import SickTrials
from .trials import Trials

__all__ = ["SickTrials", "Trials"]
