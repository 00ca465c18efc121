"""What goes wrong while a model teaches itself, and how a run's history shows it.

Collapse, drift and reward hacking are looked for in what the learner trained on:
`programs`, `distance` and `leaks` measure one program or answer without executing it,
`windows` turns the rows of a learner step into numbers, `rules` says which numbers are
a failure, `watch` when one begins and ends, and `series` reads all of that from a store.
docs/failure-modes.md is the page for readers of a report.
"""
