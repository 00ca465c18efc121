"""`python -m azr`: the same as the `azr` program."""

from azr.cli import main

main()
