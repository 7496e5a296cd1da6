"""`python -m recae.cli`."""

from recae.cli import main

main()
