"""NASNet-A. At 64 x 64 the maps are 31, 16, 8, 4 and 2 wide: SAME pads odd and even ones differently."""

import re

from ..row import Row

IMAGE = (64, 64, 3)
KERAS = {"numerics": "keras"}


def timm(name: str) -> tuple[float, int]:
    """The large network's cell, and the layer's place in it: p, h and then the blocks, but h, p where p is halved."""
    if not (match := re.match(r"(cell_stem|reduction_cell|cell)_(\d+)_(.)", name)):
        return (-3, 0) if name.startswith("conv0") else (18, 0)  # the stem's first convolution, the classifier
    kind, i, part = match[1], int(match[2]), match[3]
    cell = {"cell": i, "cell_stem": i - 2, "reduction_cell": 6 * i + 5.5}[kind]
    before_blocks = "hp" if cell in (-1, 0, 6, 12) else "ph"
    return cell, before_blocks.find(part) if part in "hp" else 2 + int(part)


ROWS = [
    Row("nasnet_mobile", "keras:NASNetMobile", IMAGE, KERAS, gain=1.4),
    Row("nasnet_large", "keras:NASNetLarge", IMAGE, KERAS, gain=1.5, slow=True),
    Row(
        "nasnet_large",
        "timm:nasnetalarge",
        IMAGE,
        {"numerics": "torch"},
        sort=timm,
        registered=True,
        gain=1.5,
        slow=True,
    ),
]
