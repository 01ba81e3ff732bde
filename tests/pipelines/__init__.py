"""The recipes of docs/howto/pipelines.md: `make test-beam` and `make test-spark`, each in an environment of its own."""
