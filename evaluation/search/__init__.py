"""Searching counterfactuals over a data set, in one process or many: `cfgen search`."""

from evaluation.search.main import search
from evaluation.search.task import Task, region_of

__all__ = ["Task", "region_of", "search"]
