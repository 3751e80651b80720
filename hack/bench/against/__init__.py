"""Two commits compared in one run: this tree (the candidate) and another commit (the baseline).

Two runs of one commit differ by 5 to 15 %, so figures of separate runs cannot be compared. Here
both servers are up, one at a time is under load, and every round measures them one after the other
in alternating order.
"""

from .runner import run
from .workloads import SECTIONS

__all__ = ["SECTIONS", "run"]
