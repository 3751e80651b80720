"""`python -m predictor` is the `predictor` command."""

from predictor.cli import main

main()
