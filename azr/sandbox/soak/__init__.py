"""Many random programs through the pool, canaries among them: what fails, leaks or grows.

`programs` makes the n-th program of a seed, `growth` looks at processes from outside,
`soak` runs both against a pool and reports.
"""

from azr.sandbox.soak.soak import SoakPlan, SoakReport, soak

__all__ = ["SoakPlan", "SoakReport", "soak"]
