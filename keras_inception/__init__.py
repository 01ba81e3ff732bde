"""The classic CNNs, LeNet to SENet, in Keras 3: faithful to papers and released weights, every departure stated.

Every network is a function that returns a functional `keras.Model`: `keras_inception.InceptionV3()`.
"""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .backend import check_backend

if TYPE_CHECKING:
    from . import analysis, data, diagram, early_exit, evaluation, export, layers, models, training, weights
    from .backbones import dilated, feature_pyramid
    from .callbacks import AuxiliaryHeads, Distillation, LabelSmoothing, fade, strip_auxiliary
    from .data import load_folder
    from .errors import InputError
    from .evaluation import evaluate
    from .models import *  # noqa: F403
    from .preprocessing import Preprocessing
    from .registry import create_model, list_models, model_info
    from .run import Run
    from .sharing import push_to_hub
    from .training import recipes
    from .training.train import train
    from .weights import decode_predictions, preprocess_input

check_backend()

# Public name -> the module that has it. TensorFlow takes seconds to load, so nothing is imported before it is used.
_MODULE_OF = {
    "AuxiliaryHeads": "callbacks",
    "Distillation": "callbacks",
    "InputError": "errors",
    "LabelSmoothing": "callbacks",
    "Preprocessing": "preprocessing",
    "Run": "run",
    "create_model": "registry",
    "decode_predictions": "weights",
    "dilated": "backbones",
    "evaluate": "evaluation",
    "fade": "callbacks",
    "feature_pyramid": "backbones",
    "list_models": "registry",
    "load_folder": "data",
    "model_info": "registry",
    "preprocess_input": "weights",
    "push_to_hub": "sharing",
    "recipes": "training",
    "strip_auxiliary": "callbacks",
    "train": "training",
}

_BUILDERS = """
    AlexNet AlexNetOWT BNInception DenseNet100_12 DenseNet100_24 DenseNet121 DenseNet161 DenseNet169 DenseNet201
    DenseNet264 DenseNet40_12 DenseNetBC100_12 DenseNetBC190_40 DenseNetBC250_24 FractalNet20 FractalNet34 FractalNet40
    GoogLeNet InceptionResNetV1 InceptionResNetV2 InceptionV1 InceptionV1BN InceptionV2 InceptionV2Rethinking
    InceptionV3 InceptionV4 LeNet5 MSDNet MSDNetCIFAR MSDNetCIFARBudget MobileNet MobileNetV1 MobileNetV2 NASNetLarge
    NASNetMobile NiN NiNCIFAR ResNeXt101_32x4d ResNeXt101_64x4d ResNeXt50_32x4d ResNet101 ResNet101V2 ResNet110
    ResNet110SD ResNet110V2 ResNet1202SD ResNet152 ResNet152SD ResNet152V2 ResNet164V2 ResNet18 ResNet20 ResNet200V2
    ResNet32 ResNet34 ResNet44 ResNet50 ResNet50V2 ResNet56 SEInceptionResNetV2 SEInceptionV2 SENet154
    SEResNeXt101_32x4d SEResNeXt50_32x4d SEResNet101 SEResNet152 SEResNet50 ShuffleNetV1 ShuffleNetV2 SqueezeNet1_0
    SqueezeNet1_1 VGG11 VGG11BN VGG13 VGG13BN VGG16 VGG16BN VGG19 VGG19BN WideResNet101_2 WideResNet16_8 WideResNet28_10
    WideResNet40_4 WideResNet50_2 Xception ZFNet
"""
_MODULE_OF |= dict.fromkeys(_BUILDERS.split(), "models")
_ROOMS = [
    "analysis",
    "data",
    "diagram",
    "early_exit",
    "evaluation",
    "export",
    "layers",
    "models",
    "training",
    "weights",
]

__all__ = sorted([*_MODULE_OF, "__version__"])


def __getattr__(name: str) -> Any:
    """Import a public name, or a room of the package, when it is first used, and keep it."""
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")  # which sets it
    if name == "__version__":
        from importlib.metadata import version  # a quarter of the time of `--help`

        found = version("keras-inception")
    elif name in _MODULE_OF:
        found = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    else:
        raise AttributeError(_unknown(name))
    globals()[name] = found
    return found


def _unknown(name: str) -> str:
    near = get_close_matches(name, [*_MODULE_OF, *_ROOMS], n=1)
    return f"module {__name__!r} has no attribute {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ROOMS})
