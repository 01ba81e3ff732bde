"""What the outputs of a network are called, and which is which: the one owner of that convention."""

MAIN = "predictions"  # the last classifier; "aux_1", ... train beside it, "exit_1", ... are the early exits
