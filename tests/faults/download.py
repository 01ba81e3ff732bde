"""A command that downloads a file into the cache, from the address in the environment."""

import os

from keras_inception.weights.download import cached

print(cached([os.environ["ADDRESS"]], "weights.h5", os.environ["DIGEST"]))
