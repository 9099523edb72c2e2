"""Pictures of counterfactuals for papers and notebooks, without matplotlib's global state.

An image is always shown from 0 (black) to 1 (white), so that two pictures can be compared by eye.
A difference is counterfactual minus factual: red where the counterfactual is brighter, blue where
it is darker, white where nothing changed, on a scale symmetric about zero.
"""

from evaluation.figures.charts import activation_bars, tradeoff
from evaluation.figures.images import contact_sheet, grid, panels
from evaluation.figures.style import save

__all__ = ["activation_bars", "contact_sheet", "grid", "panels", "save", "tradeoff"]
