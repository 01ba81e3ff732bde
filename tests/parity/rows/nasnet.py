"""NASNet-A. At 64 x 64 the maps are 31, 16, 8, 4 and 2 wide: SAME pads odd and even ones differently."""

from ..row import Row

PICTURE = (64, 64, 3)
KERAS = {"numerics": "keras"}

ROWS = [
    Row("nasnet_mobile", "keras:NASNetMobile", PICTURE, KERAS),
    Row("nasnet_large", "keras:NASNetLarge", PICTURE, KERAS, slow=True),
]
