"""What the package is delivered as, what it is built from, and what is known of both."""
