"""Measuring a policy on problems that it was never trained on.

`problems` reads the held-out suite, `held_out` samples and grades it, `estimates` says
how certain a rate is, `tables` words the result, `subjects` finds the weights to
measure. `build_held_out` made the suite; `structures` are its harder programs.
"""
