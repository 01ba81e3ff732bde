"""A command that downloads a file into the cache, from the address in the environment."""

import os
import sys

from keras_inception.errors import InputError
from keras_inception.weights.download import cached

try:
    print(cached([os.environ["ADDRESS"]], "weights.h5", os.environ["DIGEST"]))
except (InputError, OSError) as error:  # a full disk is an OSError, here as everywhere
    sys.exit(f"error: {error}")
