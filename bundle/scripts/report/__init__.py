"""Pictures of a run: a sheet of slices and scores, a page for the browser, and the panels of TensorBoard.

Figures are drawn as matplotlib objects, without pyplot, so nothing global is touched and no display is needed. Of the
volumes only slices are read: arrays, memory maps and volumes of any size can be given.
"""

from scripts.report.colour import colour_instances
from scripts.report.comparison import draw_comparison
from scripts.report.curve import read_losses
from scripts.report.page import draw_report
from scripts.report.panel import cycle_panel
from scripts.report.score import rows_of_scores

__all__ = [
    "colour_instances",
    "cycle_panel",
    "draw_comparison",
    "draw_report",
    "read_losses",
    "rows_of_scores",
]
