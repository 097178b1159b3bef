"""`python -m cluster.cli`: the command where it was shipped and not installed."""

from cluster.cli import main

main()
