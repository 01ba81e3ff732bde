"""What a user did that cannot be done, said in one line."""


class InputError(ValueError):
    """Input that cannot be used.

    The message is one line: what was received, what is allowed, what to do. The command line prints it without a
    traceback and exits with 1.
    """
