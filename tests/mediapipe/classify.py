"""What MediaPipe Tasks' ImageClassifier makes of a .tflite file: run by an environment that has only MediaPipe.

    python classify.py FILE.tflite IMAGES.npy [CLASSES]

prints a JSON list with, for each image, its 5 (or CLASSES) most probable classes as [index, name, score]; -1 is all.
"""

import json
import sys

import mediapipe
import numpy as np
from mediapipe.tasks.python import BaseOptions
from mediapipe.tasks.python.vision import ImageClassifier, ImageClassifierOptions

file, images = sys.argv[1], np.load(sys.argv[2])
shown = int(sys.argv[3]) if len(sys.argv) > 3 else 5
options = ImageClassifierOptions(base_options=BaseOptions(model_asset_path=file), max_results=shown)
answers = []
with ImageClassifier.create_from_options(options) as classifier:
    for image in images:
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image))
        [head] = classifier.classify(image).classifications
        answers.append([[c.index, c.category_name, c.score] for c in head.categories])
print(json.dumps(answers))
