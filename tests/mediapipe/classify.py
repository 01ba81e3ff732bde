"""What MediaPipe Tasks' ImageClassifier makes of a .tflite file: run by an environment that has only MediaPipe.

    python classify.py FILE.tflite IMAGES.npy

prints a JSON list with, for each image, its classes from the most probable on as [index, name, score].
"""

import json
import sys

import mediapipe
import numpy as np
from mediapipe.tasks.python import BaseOptions
from mediapipe.tasks.python.vision import ImageClassifier, ImageClassifierOptions

file, images = sys.argv[1], np.load(sys.argv[2])
options = ImageClassifierOptions(base_options=BaseOptions(model_asset_path=file), max_results=5)
answers = []
with ImageClassifier.create_from_options(options) as classifier:
    for image in images:
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image))
        [head] = classifier.classify(image).classifications
        answers.append([[c.index, c.category_name, c.score] for c in head.categories])
print(json.dumps(answers))
