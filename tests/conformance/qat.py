"""Every network trained quantised for one step and converted to int8.

    python -m tests.conformance.qat           # all networks that are not in the table yet; hours
    python -m tests.conformance.qat resnet18  # these networks again

Each network has random weights, matching batch norm statistics, and its smallest input.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_inception.registry import Architecture

from .table import Row, Table

IMAGES = 16
LEAST = 35  # pixels per side: XNNPACK fails to prepare a ResNet50 for 32 x 32
LEAST_CIFAR = 16
BRIDGE = 1e-5  # the largest difference of an output, as a share of the largest output
CORRELATION = 0.9  # between the file and the fake-quantised model, over the images


def input_side(architecture: Architecture) -> int:
    """The smallest side that runs."""
    return max(architecture.smallest, LEAST if architecture.input_shape[0] > 32 else LEAST_CIFAR)


def measure(model: Any) -> Row:
    """Build the Keras 2 copies, train a step, convert, run, compare: the figures of a row."""
    import gc

    import numpy as np
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    from keras_inception.export.quantization.qat import bridge, fake_quantized
    from keras_inception.export.quantization.qat.int8_file import to_int8
    from keras_inception.export.quantization.qat.tfmot import quiet_tfmot
    from keras_inception.export.tflite import flatbuffer

    x = images(model.input_shape[1:])
    wanted = model.predict_on_batch(x)
    with quiet_tfmot():
        plain = bridge.build(bridge.plan(model)).model(x).numpy()
        figures: Row = {"bridge": float(np.abs(plain - wanted).max() / np.abs(wanted).max())}
        wanted = centre(model, wanted)
        copy = fake_quantized.fake_quantized(bridge.plan(model))
    fake_quantized.observe(copy, [x])
    labels = np.arange(IMAGES) % wanted.shape[-1]

    with tf.GradientTape() as tape:  # eagerly: tracing a graph takes longer than running it once
        logits = copy.model(x, training=True)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
    variables = copy.model.trainable_variables
    for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
        variable.assign_sub(1e-4 * gradient)
    fake_quantized.measure_kernels(copy)
    fake, fake_model = copy.model(x).numpy(), copy.model
    del model, copy, tape, logits, variables, variable, gradient
    gc.collect()  # networks have cycles, and the conversion of FractalNet-34 takes 11 GB
    content = to_int8(fake_model)
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    [given], [answer] = interpreter.get_input_details(), interpreter.get_output_details()
    got = []
    for image in x:
        interpreter.set_tensor(given["index"], image[None])
        interpreter.invoke()
        got.append(interpreter.get_tensor(answer["index"])[0])
    file = np.stack(got)
    figures |= {
        "operators": len(flatbuffer.operators(content)),
        "float": len(flatbuffer.float_operators(content)),
        "bytes": len(content),
        "file/fake": correlation(file, fake),
        "fake/float": correlation(fake, wanted),
        "difference": float(np.abs(file - fake).max() / np.ptp(fake)),
    }
    good = np.isfinite(loss.numpy()) and figures["bridge"] <= BRIDGE and figures["float"] == 0
    return figures | {"ok": "yes" if good and figures["file/fake"] >= CORRELATION else "no"}


def network(architecture: Architecture, side: int, endpoint: str | None = None) -> Any:
    """The network up to its (last) logits, or up to an endpoint's mean, with `condition`ed weights."""
    import keras

    keras.utils.set_random_seed(0)
    one_exit = {"exits": False} if architecture.exits else {}
    shape = (side, side, architecture.input_shape[-1])
    model = architecture.build(input_shape=shape, classifier_activation=None, **one_exit)
    if endpoint:
        model = keras.Model(model.input, keras.layers.GlobalAveragePooling2D()(model.get_layer(endpoint).output))
    condition(model)
    return model


def condition(model: Any) -> None:
    """Give a network with random weights such that keep the images' information.

    Purely random weights amplify small differences in each layer; after fifty layers a rounding decides the output. So
    batch norm gets statistics that fit its maps, a scale of either sign, and, before a ReLU, a shift with which most of
    a map passes. A map that is constant except for its zero padding would make each kernel produce a frame that all
    images share and that soon dominates small maps; `without_constant` removes it before batch norm. Each of N residual
    branches is scaled by 1/sqrt(N); otherwise their sum loses its first terms.
    """
    import keras
    import numpy as np

    from keras_inception.layers import DropPath

    shape = model.input_shape[1:]
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in model.layers:
        if norms and isinstance(layer, keras.layers.Conv2D) and layer.kernel.shape[2] > shape[-1]:
            layer.kernel.assign(without_constant(layer))
    rng = np.random.default_rng(0)
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
        if layer.scale:
            layer.gamma.assign(0.5 * rng.choice([-1, 1, 1, 1], layer.gamma.shape))
        if any(isinstance(node.operation, keras.layers.ReLU) for node in layer._outbound_nodes):
            layer.beta.assign(np.ones(layer.beta.shape))
    sums = [layer for layer in model.layers if isinstance(layer, keras.layers.Add)]
    gated = (keras.layers.Multiply, DropPath)
    for layer in sums:
        nodes = layer._inbound_nodes[0].parent_nodes
        ends = {(n.parent_nodes[0] if isinstance(n.operation, gated) else n).operation for n in nodes} & set(norms)
        if len(ends) == 1:
            [branch] = ends
            branch.gamma.assign(branch.gamma / len(sums) ** 0.5)

    def call(operation: Any, *arguments: Any, **named: Any) -> Any:
        training = {"training": True} if operation in norms else {}  # no path is dropped, as in inference
        return operation(*arguments, **named, **training)

    model._run_through_graph(images(shape), operation_fn=lambda operation: operation, call_fn=call)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum


def without_constant(layer: Any) -> Any:
    """A convolution's kernel without its response to constant maps.

    After a depthwise convolution the constants at the borders are sums of some of its weights, and the response to each
    is removed. A convolution with few channels would have nothing left, so only its mean is removed.
    """
    import keras
    import numpy as np

    kernel = np.swapaxes(layer.kernel.numpy(), 0, 2)
    channels = len(kernel)
    made = np.ones((channels, 1))
    before = layer._inbound_nodes[0].parent_nodes[0].operation
    if isinstance(before, keras.layers.DepthwiseConv2D) and channels > 4 * np.prod(before.kernel_size):
        made = before.kernel.numpy().reshape(-1, channels).T
    filters = kernel.reshape(channels, -1)
    filters = filters - made @ (np.linalg.pinv(made) @ filters)
    return np.swapaxes(filters.reshape(kernel.shape), 0, 2)


def centre(model: Any, logits: Any) -> Any:
    """Shift a network's logits to a mean of 0 over the images, as in a trained classifier, and return them.

    With random weights the common part of the logits can be a hundred times what an image changes: the images would
    then differ in one or two of the 256 steps of an 8-bit output, and the correlation would be that of the rounding.
    """
    import keras

    [*_, last] = (layer for layer in model.layers if layer.weights)
    if not isinstance(last, keras.layers.Dense):  # some end in maps, a ReLU and a mean
        return logits
    last.bias.assign_sub(logits.mean(0))
    return logits - logits.mean(0)


def images(shape: tuple[int, ...], count: int = IMAGES) -> Any:
    """Coarse blobs of colour and some noise: (n, *shape) float32, with a deviation of about 1."""
    import numpy as np
    import tensorflow as tf

    rng = np.random.default_rng(0)
    blots = tf.image.resize(rng.normal(size=(count, 4, 4, shape[-1])), shape[:2], "bicubic").numpy()
    return (blots + 0.2 * rng.normal(size=(count, *shape))).astype(np.float32)


def correlation(one: Any, other: Any) -> float:
    """The correlation of what the images change in each output; an output equal for all images does not count."""
    import numpy as np

    a, b = ((outputs - outputs.mean(0)).ravel() for outputs in (one, other))
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def row(architecture: Architecture) -> Row:
    side = input_side(architecture)
    return {"input": f"{side} x {side}"} | measure(network(architecture, side))


TABLE = Table(
    module="tests.conformance.qat",
    path=Path(__file__).with_suffix(".md"),
    title="Quantisation-aware training, every network",
    notes=(
        f"`make conformance-qat` measures the rows that are missing. Random weights (`network` says which), the "
        f"smallest input that runs, {IMAGES} images, logits.",
        "**bridge**: the largest difference of the Keras 2 copy from the Keras 3 network, as a share of the largest "
        f"logit (at most {BRIDGE:.0e}). After that, the logits of a dense layer are shifted to a mean of 0 "
        "over the images.",
        "**float**: operators of the file that compute in float, after one step of training and full int8 conversion.",
        "**file/fake**, **fake/float**: the correlation of what the images change in the logits, between the file in "
        f"LiteRT and the fake-quantised model (at least {CORRELATION}), and between that and the float network. Its "
        "weights are random, so rounding matters more than in a trained network.",
        "**difference**: the largest difference of a logit between file and fake-quantised model, as a share of the "
        "range.",
    ),
    columns=("input", "bridge", "operators", "float", "bytes", "file/fake", "fake/float", "difference"),
    packages=("tensorflow", "keras", "tf_keras", "tensorflow-model-optimization", "ai-edge-litert"),
    measure=row,
)

if __name__ == "__main__":
    TABLE.main()
