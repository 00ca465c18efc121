"""How fast the store is, and whether it stays so: measured through its own methods.

A history of so many tasks is made by the database itself (`fill`), with what a real
run leaves per task: a trained proposal, an attempt, their admissions and payloads.
Then the calls that actors make are timed (`measure`).
"""

from azr.store.bench.fill import grow
from azr.store.bench.measure import Figures, Load, measure, prepare

__all__ = ["Figures", "Load", "grow", "measure", "prepare"]
