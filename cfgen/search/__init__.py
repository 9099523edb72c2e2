"""The searches: descent, line search, steps to the boundary, few steps of an edit's strengths.

All move codes of a space, check the decoded image, and return the very image that was checked.
Every image of a pool stops on its own, and what happens to it does not depend on the others. A
pool may hold more images than are asked about at once (`cfgen.types.Limits`): those that are done
make room for those that wait.
"""

from __future__ import annotations

from cfgen.search.boundary import approach
from cfgen.search.descent import descend
from cfgen.search.line import line_search, score_gradient
from cfgen.search.refinement import refine
from cfgen.search.strength import strength_at_ssim

__all__ = [
    "approach",
    "descend",
    "line_search",
    "refine",
    "score_gradient",
    "strength_at_ssim",
]
