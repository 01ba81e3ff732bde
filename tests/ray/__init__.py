"""Tables of answers by the workers of a Ray cluster: `make test-ray`, in an environment of its own."""
