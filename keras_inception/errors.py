"""What a user did that cannot be done, said in one line."""


class InputError(ValueError):
    """Input that cannot be used.

    The message is one line: what was received, what is allowed, what to do. The command line prints it without a
    traceback and exits with 1. A line break in a name that it quotes is written as one does in Python.
    """

    def __init__(self, message: str = ""):
        super().__init__("\\n".join(str(message).splitlines()))


def first_line(error: BaseException) -> str:
    """The first line with text of an exception's message, at most 200 characters; its type where it has none."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)[:200]
