"""Commands that are disturbed at random moments: killed, out of disk, without their images.

    make faults                                  # the rows that are missing in faults.md; hours
    python -m tests.faults "train / killed"      # one of them again; --moments 5 for fewer

Afterwards the old state or the new one is there, the same command finishes, and what it makes has the bytes of an
undisturbed command.
"""
