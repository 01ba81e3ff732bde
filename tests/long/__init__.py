"""Long work, whose memory is watched, and the largest networks, each step in at most 12 GB (`make long`)."""

import os
import platform


def machine() -> str:
    """The processor, its cores and the memory, on which seconds and resident memory depend."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GB"
