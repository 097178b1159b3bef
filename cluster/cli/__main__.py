"""`python -m cluster.cli`: the command where the code was shipped but not installed."""

from cluster.cli import main

main()
