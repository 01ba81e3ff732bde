"""`python -m keras_inception`."""

from .cli.app import main

main()
