"""Does self-play learn? The experiment of `azr experiment learning`, as data and code.

`arms` and `plans` say what is compared and for how long; `conduct` plays and measures
each (arm, seed) with the product's own commands and leaves one JSON file; `statistics`,
`figures` and `report` read those files alone.
"""
