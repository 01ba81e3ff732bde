"""`python -m keras_inception`."""

from .cli import main

main()
