"""Published numbers beside those that the code gives: docs/claims.md.

`python -m docs.claims` writes the page; tests/docs/test_claims.py compares it with the networks. A claim is a row of
`CLAIMS`: where it is published, what it says, the figure as printed, and how the code computes it. Nobody types a
verdict.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import keras
from keras.layers import AveragePooling2D, Conv2D, Dense, DepthwiseConv2D, GlobalAveragePooling2D, MaxPooling2D

from keras_inception.analysis.cost import blueprint, layer_costs, total
from keras_inception.facts import Fact, fact
from keras_inception.layers import Conv, DropPath, LayerSpec, chain
from keras_inception.model_graph import steps
from keras_inception.registry import architectures, get

from .families import FAMILIES
from .generate import DOCS, GENERATED, ROOT, markdown, table_of

PAGE = DOCS / "claims.md"
NEAR = 0.05  # how far a figure may be off and still be called near
UNITS = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "×": 1, "%": 1, "MiB": 2**20}
TITLES = "where", "what", "published", "computed", "verdict"
POOLS = MaxPooling2D, AveragePooling2D, GlobalAveragePooling2D


@dataclass(frozen=True)
class Claim:
    """A published figure: where, of what, as printed, what the code gives, and why they differ if they do.

    `published` is a number with a unit of `UNITS`; "<" before it means at most, ">" at least.
    """

    place: str
    text: str
    published: str
    value: Callable[[], float]
    why: str = ""


def verdict(published: str, value: float) -> str:
    """How a value compares with a figure: "agrees", "near" (within `NEAR`) or "differs".

    It agrees if it rounds to the figure as printed: 138,357,544 agrees with "138 M" and 60,965,224 not with "60 M".
    """
    bound, digits, unit = re.fullmatch(r"([<>]?) ?([\d,.]+) ?(\D*)", published).groups()
    figure = float(digits.replace(",", "")) * UNITS[unit]
    step = UNITS[unit] * 10.0 ** -len(digits.partition(".")[2])
    if {"<": value <= figure, ">": value >= figure, "": abs(value - figure) <= step / 2}[bound]:
        return "agrees"
    return "near" if abs(value - figure) <= NEAR * figure else "differs"


def shown(published: str, value: float) -> str:
    """A value in the unit of a figure; counts in full."""
    unit = published.split()[-1] if " " in published else ""
    unit = unit if unit in UNITS else ""
    if unit in ("", "k", "M", "G") and value == int(value):
        return f"{value:,.0f}"
    return f"{value / UNITS[unit]:.4g} {unit}".rstrip()


# ---------------------------------------------------------------------------------------------- what the code gives


@cache
def _network(name: str, arguments: tuple[tuple[str, Any], ...] = ()) -> keras.Model:
    return blueprint(get(name).build, **dict(arguments))


@cache
def _total(name: str, arguments: tuple[tuple[str, Any], ...]) -> Any:
    return total(_network(name, arguments))


def parameters(name: str, **arguments: Any) -> int:
    """Trainable parameters; those of the default arguments are known without building the network."""
    return _total(name, tuple(arguments.items())).trainable if arguments else fact(name)["trainable"]


def macs(name: str, **arguments: Any) -> int:
    """Multiply-adds of one image."""
    return _total(name, tuple(arguments.items())).macs if arguments else fact(name)["macs"]


def row(name: str, endpoint: str) -> Fact:
    """An endpoint's row in the table of a network."""
    return next(row for row in fact(name)["rows"] if row["name"] == endpoint)


def side(name: str, endpoint: str) -> int:
    """The height of an endpoint's map."""
    return row(name, endpoint)["output_shape"][0]


def outputs(name: str, endpoint: str) -> int:
    """The neurons of an endpoint."""
    return math.prod(row(name, endpoint)["output_shape"])


def field(name: str) -> int:
    """The receptive field of the last map, before the global pool or the dense layers."""
    return [row for row in fact(name)["rows"] if len(row["output_shape"]) == 3][-1]["receptive_field"][0]


def depth(name: str, kinds: tuple[type, ...] = (Conv2D, DepthwiseConv2D, Dense), **arguments: Any) -> int:
    """Layers of these kinds on the longest way from the image to the answer."""
    found: list[int] = []
    for step in steps(_network(name, tuple(arguments.items()))):
        found.append(isinstance(step.layer, kinds) + max((found[i] for i in step.sources), default=0))
    return found[-1]


def convolutions(name: str) -> int:
    """Convolutions that are not depthwise; a separable one counts once, by its pointwise part."""
    return sum(type(layer) is Conv2D for layer in _network(name).layers)


def of_chain(*specs: LayerSpec, channels: int, size: int = 28) -> list[Any]:
    """What convolutions cost on a map of that size."""
    inputs = keras.Input((size, size, channels))
    return layer_costs(keras.Model(inputs, chain(inputs, specs, name="x")))


def chain_macs(*specs: LayerSpec, channels: int, size: int = 28) -> int:
    """Multiply-adds of convolutions on a map of that size."""
    return total(of_chain(*specs, channels=channels, size=size)).macs


def kernels(*specs: LayerSpec, channels: int) -> int:
    """Weights of convolutions without their biases: their multiply-adds on one position."""
    return chain_macs(*specs, channels=channels, size=1)


def saved(factors: Iterable[LayerSpec], whole: LayerSpec) -> float:
    """The percentage of multiply-adds that factors save beside the convolution that they replace."""
    return 100 * (1 - chain_macs(*factors, channels=64) / chain_macs(whole, channels=64))


def share(name: str, kind: str, of: str) -> float:
    """The percentage of a network's parameters or multiply-adds in the endpoints of a kind."""
    rows = fact(name)["rows"]
    return 100 * sum(row[of] for row in rows if kind in row["kind"]) / fact(name)[of]


def full_mobilenet() -> int:
    """MobileNet's multiply-adds with 3x3 convolutions for its separable ones: nine times those of the pointwise."""
    rows = fact("mobilenet_v1")["rows"]
    pointwise = sum(row["macs"] for row in rows if row["kind"].startswith("1x1"))
    return 9 * pointwise + row("mobilenet_v1", "conv2d_0")["macs"] + row("mobilenet_v1", "logits")["macs"]


def connections(name: str, block: str, growth: int) -> int:
    """Connections in a dense block: each convolution's inputs, counted as the layers before it that they come from."""
    convs = [layer for layer in _network(name).layers if layer.name.startswith(block) and type(layer) is Conv2D]
    read = [layer.input.shape[-1] for layer in convs]
    return sum((channels - read[0]) // growth + 1 for channels in read)


def expected_blocks(name: str) -> float:
    """Residual blocks that a training step keeps on average."""
    return sum(1 - layer.rate for layer in _network(name).layers if isinstance(layer, DropPath))


def neurons(name: str) -> int:
    """Outputs of all convolutions and dense layers."""
    rows = fact(name)["rows"]
    return sum(math.prod(row["output_shape"]) for row in rows if row["macs"])


def milliseconds(file: str) -> float:
    """A measured time of benchmarks/which_network.md."""
    rows = table_of(ROOT / "benchmarks" / "which_network.md")
    return next(float(row["ms"]) for row in rows if row["file"] == file)


# ---------------------------------------------------------------------------------------------------- the claims


def _modules() -> Iterator[Claim]:
    """The multiply-adds that GoogLeNet's Table 1 gives of each module."""
    figures = (128, 304, 73, 88, 100, 119, 170, 54, 71)
    names = ("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c")
    why = {
        "4b": "The table seems to cut: 73.6.",
        "5b": "The channels that the table prints for (5a) give 51.",
    }
    for name, figure in zip(names, figures, strict=True):
        paper = f"({name[0]}{chr(ord(name[1]) - 1)})"
        endpoint = f"mixed_{name}"
        yield Claim(
            "table 1",
            f"multiply-adds of {paper}",
            f"{figure} M",
            lambda endpoint=endpoint: row("inception_v1", endpoint)["macs"],
            why.get(name, ""),
        )


def _slim_fields() -> Iterator[Claim]:
    figures = {
        "alexnet": 195,
        "vgg16": 212,
        "inception_v2": 699,
        "inception_v3": 1311,
        "inception_v4": 2071,
        "inception_resnet_v2": 3039,
        "resnet50": 483,
        "resnet101": 1027,
        "resnet152": 1507,
        "mobilenet_v1": 315,
    }
    why = "TF-Slim halves the map at the end of a stage, the paper at the start of the next."
    for name, figure in figures.items():
        yield Claim(
            "table in the discussion",
            f"receptive field of {get(name).builder}'s last map",
            f"{figure}",
            lambda name=name: field(name),
            why if name.startswith("resnet") else "",
        )


ROUND = "The paper's ratio is of round numbers."
AUTHORS = "The paper prints no channels; these are of the authors' generator."
KERNELS = "Without batch norm and biases it is the paper's."

CLAIMS: dict[str, tuple[Claim, ...]] = {
    "lenet": (
        Claim("section II.B", "trained parameters", "60 k", lambda: parameters("lenet5"),
              "C3 reads all six maps here, and the output is a dense layer."),
        Claim("section II.B", "parameters of C1", "156", lambda: row("lenet5", "c1")["trainable"]),
        Claim("section II.B", "connections of C1, biases included", "122,304",
              lambda: row("lenet5", "c1")["trainable"] * side("lenet5", "c1") ** 2),
        Claim("section II.B", "parameters of C3", "1,516", lambda: row("lenet5", "c3")["trainable"],
              "In the paper's Table I each map of C3 reads three to six maps, here all six."),
        Claim("section II.B", "connections of C3, biases included", "151,600",
              lambda: row("lenet5", "c3")["trainable"] * side("lenet5", "c3") ** 2, "As for its parameters."),
        Claim("section II.B", "connections of C5", "48,120", lambda: row("lenet5", "c5")["trainable"]),
        Claim("section II.B", "parameters of F6", "10,164", lambda: row("lenet5", "f6")["trainable"]),
        Claim("section II.B", "side of S4's maps", "5", lambda: side("lenet5", "s4")),
    ),
    "alexnet": (
        Claim("abstract", "parameters", "60 M", lambda: parameters("alexnet"), "The paper cuts: 60.97."),
        Claim("abstract", "neurons", "650 k", lambda: neurons("alexnet"),
              "Figure 2's layers add up to 622,312, with 253,440 in the first."),
        Claim("abstract", "layers with weights", "8", lambda: depth("alexnet")),
        Claim("figure 2", "neurons of the first layer", "253,440", lambda: outputs("alexnet", "conv1"),
              "55 x 55 x 96, which the same figure draws, are 290,400."),
        Claim("figure 2", "neurons of the second layer", "186,624", lambda: outputs("alexnet", "conv2")),
        Claim("figure 2", "neurons of the third layer", "64,896", lambda: outputs("alexnet", "conv3")),
        Claim("figure 2", "neurons of the fifth layer", "43,264", lambda: outputs("alexnet", "conv5")),
        Claim("figure 2", "inputs", "150,528", lambda: outputs("alexnet", "images"),
              "224 x 224 pixels do not give the paper's 55 x 55 maps; 227 x 227 do."),
    ),
    "zfnet": (
        Claim("figure 3", "side of the first maps", "110", lambda: side("zfnet", "conv1")),
        Claim("figure 3", "side after the first pool", "55", lambda: side("zfnet", "pool1")),
        Claim("figure 3", "side of the second maps", "26", lambda: side("zfnet", "conv2")),
        Claim("figure 3", "side after the last pool", "6", lambda: side("zfnet", "pool5")),
    ),
    "inception_v1": (
        Claim("section 1", "times fewer parameters than AlexNet", "12 ×",
              lambda: parameters("alexnet") / parameters("inception_v1"),
              "The paper's ratio is of round numbers, 60 and 5 million; without the classifier it is 10.2 here."),
        Claim("section 1", "multiply-adds, the budget", "1.5 G", lambda: macs("inception_v1"),
              "The modules of Table 1 alone are 1.1 G; with the stem, as released, 1.58."),
        Claim("section 5", "layers with weights", "22", lambda: depth("inception_v1")),
        Claim("section 5", "layers with the pools", "27",
              lambda: depth("inception_v1", (Conv2D, Dense, *POOLS))),
        Claim("table 1", "parameters of the first convolution", "2.7 k",
              lambda: row("inception_v1", "conv2d_1a_7x7")["trainable"],
              "A plain 7x7 of 64 channels has 9,408 and 64 biases; no plain convolution has the table's."),
        Claim("table 1", "parameters of (3a)", "159 k", lambda: row("inception_v1", "mixed_3b")["trainable"],
              "The table counts in 1,024: 159.9."),
        Claim("table 1", "parameters of (4c)", "463 k", lambda: row("inception_v1", "mixed_4d")["trainable"],
              "The channels that the table prints for (4c) give 510 k."),
        Claim("table 1", "parameters of (5b)", "1,388 k", lambda: row("inception_v1", "mixed_5c")["trainable"]),
        *_modules(),
        Claim("table 1", "side of (3a)'s maps", "28", lambda: side("inception_v1", "mixed_3b")),
        Claim("table 1", "channels of (5b)", "1,024",
              lambda: row("inception_v1", "mixed_5c")["output_shape"][-1]),
    ),
    "vgg": (
        Claim("table 2", "parameters of A", "133 M", lambda: parameters("vgg11")),
        Claim("table 2", "parameters of B", "133 M", lambda: parameters("vgg13")),
        Claim("table 2", "parameters of D", "138 M", lambda: parameters("vgg16")),
        Claim("table 2", "parameters of E", "144 M", lambda: parameters("vgg19")),
        Claim("table 1", "layers with weights of E", "19", lambda: depth("vgg19")),
        Claim("section 2.3", "receptive field of two 3x3", "5",
              lambda: of_chain(Conv(8, 3), Conv(8, 3), channels=8)[-1].receptive_field[0]),
        Claim("section 2.3", "receptive field of three 3x3", "7",
              lambda: of_chain(Conv(8, 3), Conv(8, 3), Conv(8, 3), channels=8)[-1].receptive_field[0]),
        Claim("section 2.3", "percentage of parameters that a 7x7 has more than three 3x3", "81 %",
              lambda: 100 * (kernels(Conv(64, 7), channels=64)
                             / kernels(Conv(64, 3), Conv(64, 3), Conv(64, 3), channels=64) - 1)),
    ),
    "inception_v2": (
        Claim("section 4.2.1", "parameters", "13.6 M", lambda: parameters("inception_v2"),
              "Figure 5's channels give 11.3 M."),
        Claim("Rethinking, table 3", "multiply-adds", "2.0 G", lambda: macs("inception_v2")),
        Claim("figure 5", "channels of the last module", "1,024",
              lambda: row("inception_v2", "mixed_5c")["output_shape"][-1]),
    ),
    "inception_v3": (
        Claim("section 3.1", "percentage that two 3x3 save for one 5x5", "28 %",
              lambda: saved([Conv(64, 3), Conv(64, 3)], Conv(64, 5))),
        Claim("section 3.2", "percentage that a 3x1 after a 1x3 saves for one 3x3", "33 %",
              lambda: saved([Conv(64, (1, 3)), Conv(64, (3, 1))], Conv(64, 3))),
        Claim("section 3.2", "percentage that two 2x2 save for one 3x3", "11 %",
              lambda: saved([Conv(64, 2), Conv(64, 2)], Conv(64, 3))),
        Claim("section 3.1", "times the cost of a 3x3 that a 5x5 has", "2.78 ×",
              lambda: chain_macs(Conv(64, 5), channels=64) / chain_macs(Conv(64, 3), channels=64)),
        Claim("abstract", "multiply-adds of v3", "5 G", lambda: macs("inception_v3"),
              "The released network is larger than Table 3's 4.8 G."),
        Claim("abstract", "parameters of v3, at most", "< 25 M", lambda: parameters("inception_v3")),
        Claim("section 1", "times AlexNet's parameters that VGG has", "3 ×",
              lambda: parameters("vgg16") / parameters("alexnet"), "VGG-16 has 138 million, AlexNet 61."),
        Claim("section 6", "layers of Inception-v2", "42", lambda: depth("inception_v2_rethinking"),
              "The longest way counts here; the paper does not say what it counts."),
        Claim("section 6", "times GoogLeNet's multiply-adds of Inception-v2", "2.5 ×",
              lambda: macs("inception_v2_rethinking") / macs("inception_v1"),
              "Its widths are not printed: they are v3's here."),
        Claim("table 1", "side of the first grid", "35", lambda: side("inception_v2_rethinking", "mixed_5b")),
        Claim("table 1", "side of the second grid", "17", lambda: side("inception_v2_rethinking", "mixed_6b")),
        Claim("table 1", "side of the third grid", "8", lambda: side("inception_v2_rethinking", "mixed_7b")),
        Claim("table 1", "channels at the end", "2,048",
              lambda: row("inception_v2_rethinking", "mixed_7c")["output_shape"][-1]),
    ),
    "inception_v4": (
        Claim("figure 9", "side of the first grid", "35", lambda: side("inception_v4", "mixed_5b")),
        Claim("figure 9", "channels of the first grid", "384",
              lambda: row("inception_v4", "mixed_5b")["output_shape"][-1]),
        Claim("figure 9", "channels of the second grid", "1,024",
              lambda: row("inception_v4", "mixed_6b")["output_shape"][-1]),
        Claim("figure 9", "channels of the third grid", "1,536",
              lambda: row("inception_v4", "mixed_7b")["output_shape"][-1]),
    ),
    "resnet": (
        Claim("abstract", "times deeper than VGG, with 152 layers", "8 ×",
              lambda: depth("resnet152", numerics="caffe") / depth("vgg19")),
        Claim("abstract", "layers of the deepest", "152", lambda: depth("resnet152", numerics="caffe")),
        Claim("table 1", "multiply-adds of 18 layers", "1.8 G", lambda: macs("resnet18")),
        Claim("table 1", "multiply-adds of 34 layers", "3.6 G", lambda: macs("resnet34"), "The paper cuts: 3.66."),
        Claim("table 1", "multiply-adds of 50 layers", "3.8 G", lambda: macs("resnet50", numerics="caffe"),
              "The paper cuts: 3.86, with the stride in the first 1x1 as in the release (`caffe`)."),
        Claim("table 1", "multiply-adds of 101 layers", "7.6 G", lambda: macs("resnet101", numerics="caffe")),
        Claim("table 1", "multiply-adds of 152 layers", "11.3 G", lambda: macs("resnet152", numerics="caffe")),
        Claim("section 4.1", "multiply-adds of VGG-16", "15.3 G", lambda: macs("vgg16"),
              "The convolutions alone are 15.35 G."),
        Claim("section 4.1", "multiply-adds of VGG-19", "19.6 G", lambda: macs("vgg19")),
        Claim("section 3.3", "percentage of VGG-19's multiply-adds in 34 layers", "18 %",
              lambda: 100 * macs("resnet34") / macs("vgg19"), "The paper's is of rounded numbers, 3.6 and 19.6."),
        Claim("table 6", "parameters of 20 layers", "0.27 M", lambda: parameters("resnet20")),
        Claim("table 6", "parameters of 32 layers", "0.46 M", lambda: parameters("resnet32")),
        Claim("table 6", "parameters of 44 layers", "0.66 M", lambda: parameters("resnet44")),
        Claim("table 6", "parameters of 56 layers", "0.85 M", lambda: parameters("resnet56")),
        Claim("table 6", "parameters of 110 layers", "1.7 M", lambda: parameters("resnet110")),
        Claim("table 6", "parameters of 1,202 layers", "19.4 M", lambda: parameters("resnet1202_sd")),
    ),
    "resnext": (
        Claim("table 1", "parameters of ResNet-50", "25.5 M", lambda: parameters("resnet50"),
              "The paper cuts: 25.56."),
        Claim("table 1", "parameters of ResNeXt-50", "25.0 M", lambda: parameters("resnext50_32x4d")),
        Claim("table 1", "multiply-adds of ResNet-50", "4.1 G", lambda: macs("resnet50")),
        Claim("table 1", "multiply-adds of ResNeXt-50", "4.2 G", lambda: macs("resnext50_32x4d")),
        Claim("section 3.4", "weights of a bottleneck of 64", "70 k",
              lambda: kernels(Conv(64), Conv(64, 3), Conv(256), channels=256)),
        Claim("section 3.4", "weights of a block of 32 paths of 4", "70 k",
              lambda: 32 * kernels(Conv(4), Conv(4, 3), Conv(256), channels=256)),
        Claim("authors' table", "multiply-adds of ResNeXt-101 32x4d", "7.8 G", lambda: macs("resnext101_32x4d")),
        Claim("authors' table", "multiply-adds of ResNeXt-101 64x4d", "15.6 G", lambda: macs("resnext101_64x4d")),
    ),
    "stochastic_depth": (
        Claim("section 3", "blocks of 54 that a training step keeps", "40",
              lambda: expected_blocks("resnet110_sd")),
    ),
    "densenet": (
        Claim("abstract", "connections of L = 12 layers, L (L + 1) / 2", "78",
              lambda: connections("densenet40_12", "denseblock1_", 12)),
        Claim("table 2", "parameters of 40 layers, k = 12", "1.0 M", lambda: parameters("densenet40_12")),
        Claim("table 2", "parameters of 100 layers, k = 12", "7.0 M", lambda: parameters("densenet100_12")),
        Claim("table 2", "parameters of 100 layers, k = 24", "27.2 M", lambda: parameters("densenet100_24")),
        Claim("table 2", "parameters of BC 100, k = 12", "0.8 M", lambda: parameters("densenet_bc100_12")),
        Claim("table 2", "parameters of BC 250, k = 24", "15.3 M", lambda: parameters("densenet_bc250_24")),
        Claim("table 2", "parameters of BC 190, k = 40", "25.6 M", lambda: parameters("densenet_bc190_40")),
        Claim("section 4.4", "parameters of 201 layers", "20 M", lambda: parameters("densenet201")),
        Claim("section 4.4", "parameters of the ResNet-101 that is as accurate, at least", "> 40 M",
              lambda: parameters("resnet101")),
    ),
    "fractalnet": (
        Claim("table 1", "parameters of 20 layers", "38.6 M", lambda: parameters("fractalnet20"), AUTHORS),
        Claim("table 1", "parameters of 40 layers", "22.9 M", lambda: parameters("fractalnet40"), AUTHORS),
        Claim("section 3", "convolutions on the longest path of 5 blocks of 3 columns", "20",
              lambda: depth("fractalnet20", (Conv2D,))),
    ),
    "squeezenet": (
        Claim("abstract", "times fewer parameters than AlexNet", "50 ×",
              lambda: parameters("alexnet") / parameters("squeezenet1_0"), "A round number."),
        Claim("table 1", "parameters", "1,248,424", lambda: parameters("squeezenet1_0")),
        Claim("table 2", "size in float32", "4.8 MiB", lambda: 4 * parameters("squeezenet1_0")),
        Claim("release 1.1", "times less computation than 1.0", "2.4 ×",
              lambda: macs("squeezenet1_0") / macs("squeezenet1_1"), "At 224 pixels; the release counts at 227."),
        Claim("table 1", "side of the first maps", "111", lambda: side("squeezenet1_0", "conv1"),
              "Images of 224 pixels, as in torchvision, give 109."),
    ),
    "wide_resnet": (
        Claim("table 4", "parameters of WRN-28-10", "36.5 M", lambda: parameters("wide_resnet28_10")),
        Claim("table 4", "parameters of WRN-16-8", "11.0 M", lambda: parameters("wide_resnet16_8")),
        Claim("table 4", "parameters of WRN-40-4", "8.9 M", lambda: parameters("wide_resnet40_4")),
        Claim("table 8", "parameters of WRN-50-2", "68.9 M", lambda: parameters("wide_resnet50_2")),
        Claim("section 3", "convolutions of WRN-28-10", "28", lambda: convolutions("wide_resnet28_10")),
    ),
    "xception": (
        Claim("table 3", "parameters", "22,855,952", lambda: parameters("xception")),
        Claim("table 3", "parameters of Inception v3", "23,626,728", lambda: parameters("inception_v3"),
              "The paper's own v3; the released one has 0.8 % more."),
        Claim("section 3", "convolutions, a separable one once", "36",
              lambda: convolutions("xception") - 4, "The four of the shortcuts left out."),
    ),
    "nasnet": (
        Claim("table 2", "parameters of the large network", "88.9 M", lambda: parameters("nasnet_large"),
              "The moving averages of batch norm make it 88.9."),
        Claim("table 2", "multiply-adds of the large network", "23.8 G", lambda: macs("nasnet_large")),
        Claim("table 3", "parameters of the mobile network", "5.3 M", lambda: parameters("nasnet_mobile")),
        Claim("table 3", "multiply-adds of the mobile network", "564 M", lambda: macs("nasnet_mobile")),
    ),
    "mobilenet_v1": (
        Claim("table 8", "multiply-adds", "569 M", lambda: macs("mobilenet_v1")),
        Claim("table 8", "parameters", "4.2 M", lambda: parameters("mobilenet_v1")),
        Claim("section 3.1", "times less computation than 3x3 convolutions, at least", "> 8 ×",
              lambda: full_mobilenet() / macs("mobilenet_v1")),
        Claim("section 3.1", "times less computation than 3x3 convolutions, at most", "< 9 ×",
              lambda: full_mobilenet() / macs("mobilenet_v1")),
        Claim("table 4", "multiply-adds with 3x3 convolutions", "4866 M", full_mobilenet),
        Claim("table 2", "percentage of multiply-adds in 1x1 convolutions", "94.86 %",
              lambda: share("mobilenet_v1", "1x1", "macs")),
        Claim("table 2", "percentage of multiply-adds in depthwise convolutions", "3.06 %",
              lambda: share("mobilenet_v1", "depthwise", "macs")),
        Claim("table 2", "percentage of parameters in 1x1 convolutions", "74.59 %",
              lambda: share("mobilenet_v1", "1x1", "trainable"), KERNELS),
        Claim("table 2", "percentage of parameters in the classifier", "24.33 %",
              lambda: share("mobilenet_v1", "fully connected", "trainable"), KERNELS),
        Claim("section 3.2", "layers, depthwise and pointwise apart", "28", lambda: depth("mobilenet_v1")),
        Claim("table 6", "parameters at half width", "1.3 M", lambda: parameters("mobilenet_v1", alpha=0.5)),
        Claim("table 6", "multiply-adds at half width", "149 M", lambda: macs("mobilenet_v1", alpha=0.5)),
        Claim("table 7", "multiply-adds at 128 pixels", "186 M",
              lambda: macs("mobilenet_v1", input_shape=(128, 128, 3))),
        Claim("section 4.2", "times smaller than VGG-16", "32 ×",
              lambda: parameters("vgg16") / parameters("mobilenet_v1"), "The paper cuts: 32.7."),
        Claim("section 4.2", "times less compute intensive than VGG-16", "27 ×",
              lambda: macs("vgg16") / macs("mobilenet_v1")),
        Claim("section 4.2", "times smaller than AlexNet at half width", "45 ×",
              lambda: parameters("alexnet") / parameters("mobilenet_v1", alpha=0.5)),
        Claim("section 4.2", "times less compute than AlexNet at half width and 160 pixels", "9.4 ×",
              lambda: macs("alexnet") / macs("mobilenet_v1", alpha=0.5, input_shape=(160, 160, 3))),
        Claim("section 4.2", "times less compute than SqueezeNet at half width and 160 pixels", "22 ×",
              lambda: macs("squeezenet1_0") / macs("mobilenet_v1", alpha=0.5, input_shape=(160, 160, 3)),
              "The paper's 1,700 M for SqueezeNet count a multiply-add twice."),
    ),
    "mobilenet_v2": (
        Claim("table 4", "multiply-adds", "300 M", lambda: macs("mobilenet_v2"), "The paper cuts: 300.8."),
        Claim("table 4", "parameters", "3.4 M", lambda: parameters("mobilenet_v2"), "The released network has 3.50."),
        Claim("table 4", "multiply-adds at width 1.4", "585 M", lambda: macs("mobilenet_v2", alpha=1.4)),
        Claim("table 4", "parameters at width 1.4", "6.9 M", lambda: parameters("mobilenet_v2", alpha=1.4),
              "The release's table has 6.06, without batch norm."),
    ),
    "shufflenet_v1": (
        Claim("section 4.5", "times fewer multiply-adds than AlexNet at half width", "18 ×",
              lambda: macs("alexnet") / macs("shufflenet_v1", scale=0.5),
              "The paper's quotient, 720 / 38, is 18.9: it cuts."),
        Claim("abstract", "times as fast as AlexNet at half width, on a phone's ARM", "13 ×",
              lambda: milliseconds("alexnet, float32") / milliseconds("shufflenet_v1 x0.5, float32"),
              "Measured here in float32 on one thread of another processor, with another runtime."),
        Claim("table 1", "multiply-adds with 1 group", "143 M", lambda: macs("shufflenet_v1", groups=1)),
        Claim("table 1", "multiply-adds with 3 groups", "137 M", lambda: macs("shufflenet_v1")),
        Claim("table 1", "multiply-adds with 4 groups", "133 M", lambda: macs("shufflenet_v1", groups=4),
              "The channels of the table give 134.3."),
        Claim("table 1", "multiply-adds with 8 groups", "137 M", lambda: macs("shufflenet_v1", groups=8),
              "The channels of the table give 138.4."),
        Claim("table 2", "multiply-adds at half width", "38 M", lambda: macs("shufflenet_v1", scale=0.5)),
        Claim("table 5", "multiply-adds at double width", "524 M", lambda: macs("shufflenet_v1", scale=2)),
    ),
    "shufflenet_v2": (
        Claim("table 8", "multiply-adds", "146 M", lambda: macs("shufflenet_v2"),
              "Both paths of a stride-2 unit have half of the channels, as in torchvision."),
        Claim("table 8", "multiply-adds at half width", "41 M", lambda: macs("shufflenet_v2", scale=0.5),
              "40.5 in torchvision and in the release."),
        Claim("table 8", "multiply-adds at double width", "591 M", lambda: macs("shufflenet_v2", scale=2.0),
              "As at width 1."),
        Claim("release", "parameters", "2.3 M", lambda: parameters("shufflenet_v2")),
        Claim("release", "parameters at double width", "7.4 M", lambda: parameters("shufflenet_v2", scale=2.0)),
    ),
    "senet": (
        Claim("section 4", "multiply-adds of SE-ResNet-50", "3.87 G", lambda: macs("seresnet50"),
              "With the pools and the scaling, 11 million more, it is 3.87."),
        Claim("section 4", "percentage of multiply-adds that the modules add to ResNet-50", "0.26 %",
              lambda: 100 * (macs("seresnet50") / macs("resnet50", numerics="caffe") - 1),
              "The paper's is of its rounded figures, 3.87 and 3.86."),
        Claim("section 4", "parameters that the modules add to ResNet-50", "2.5 M",
              lambda: parameters("seresnet50") - parameters("resnet50")),
        Claim("section 4", "percentage of parameters that the modules add to ResNet-50", "10 %",
              lambda: 100 * (parameters("seresnet50") / parameters("resnet50") - 1)),
        Claim("table 2", "multiply-adds of SE-ResNet-101", "7.60 G", lambda: macs("seresnet101")),
        Claim("table 2", "multiply-adds of SE-ResNet-152", "11.32 G", lambda: macs("seresnet152")),
        Claim("table 2", "multiply-adds of SE-ResNeXt-50", "4.25 G", lambda: macs("seresnext50_32x4d")),
        Claim("table 2", "multiply-adds of SE-ResNeXt-101", "8.00 G", lambda: macs("seresnext101_32x4d")),
        Claim("table 2", "multiply-adds of SE-BN-Inception", "2.04 G", lambda: macs("se_inception_v2")),
        Claim("table 2", "multiply-adds of SE-Inception-ResNet-v2", "11.76 G",
              lambda: macs("se_inception_resnet_v2"),
              "The paper's baseline has 11.75 G; the released Inception-ResNet v2 has 13.2."),
    ),
    "survey": (
        Claim("surveys of Inception", "multiplications of a 5x5, 32 channels from 192, on 28 x 28", "120 M",
              lambda: chain_macs(Conv(32, 5), channels=192)),
        Claim("surveys of Inception", "with a 1x1 of 16 channels before it", "12.4 M",
              lambda: chain_macs(Conv(16), Conv(32, 5), channels=192)),
        Claim("surveys of Inception", "percentage of a 5x5's cost that two 3x3 have", "72 %",
              lambda: 100 - saved([Conv(64, 3), Conv(64, 3)], Conv(64, 5))),
        Claim("surveys of Inception", "percentage of a 3x3's cost that a 1x3 and a 3x1 have", "67 %",
              lambda: 100 - saved([Conv(64, (1, 3)), Conv(64, (3, 1))], Conv(64, 3))),
        *_slim_fields(),
    ),
}  # fmt: skip


# ------------------------------------------------------------------------------------------------------- the page


def rows(slug: str) -> list[tuple[str, ...]]:
    """The rows of a paper's table, with what the code gives now."""
    made = []
    for claim in CLAIMS[slug]:
        value = claim.value()
        found = verdict(claim.published, value)
        words = f"**{found}**" if found == "differs" else found
        why = f": {claim.why}" if claim.why and found != "agrees" else ""
        figure = claim.published.replace("<", "at most").replace(">", "at least")
        made.append((claim.place, claim.text, figure, shown(claim.published, value), words + why))
    return made


def section(slug: str) -> str:
    """A paper's part of the page."""
    if slug == "survey":
        title = "The survey literature"
        paper = (
            "Figures that surveys of these networks repeat, and the receptive fields of Araujo, Norris and Sim, 2019, "
            "[Computing receptive fields of convolutional neural networks](https://doi.org/10.23915/distill.00021)."
        )
    else:
        url, family = next((url, family) for url, family in FAMILIES.items() if family.slug == slug)
        known = next(a.paper for a in architectures() if a.paper.url == url)
        title = f"[{family.heading}](families/{slug}.md)"
        paper = f"{known.authors}, {known.year}, [{known.title}]({known.url})."
    return "\n\n".join([f"## {title}", paper, markdown(TITLES, "llrrl", rows(slug))])


def page(sections: Mapping[str, str]) -> str:
    """The whole page, of the section of each paper."""
    text = "\n\n".join(sections.values())
    count = Counter(re.findall(r"\| \**(agrees|near|differs)", text))
    parts = [
        "# Published numbers, checked",
        "Numbers of the papers and of surveys that can be checked without ImageNet, beside what the code gives. "
        f"Of {count.total()} figures {count['agrees']} agree, {count['near']} are near and {count['differs']} differ.",
        "**agrees**: the computed number rounds to the figure as printed. **near**: it is within "
        f"{NEAR:.0%} of it; papers cut where they might round. **differs**: it is further off, and the line says why. "
        "Parameters are the trained ones, multiply-adds those of convolutions and dense layers. The figures were "
        "typed by hand, those of tables and sections not all read again in the paper: quote the paper, not this "
        "page. The computed numbers and the verdicts are made by `make claims`.",
        text,
    ]
    return GENERATED.replace("docs.generate", "docs.claims") + "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page({slug: section(slug) for slug in CLAIMS}), encoding="utf-8")
