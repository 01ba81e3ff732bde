"""Every network trained quantised for a step and converted to int8.

    python -m tests.conformance.qat           # all that are not in the table yet; hours
    python -m tests.conformance.qat resnet18  # these, again

Each network has random weights, batch norm that fits them, and its smallest input.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_inception.registry import Architecture

from .table import Row, Table

IMAGES = 16
LEAST = 35  # pixels a side: XNNPACK fails to prepare a ResNet50 for 32 x 32
LEAST_CIFAR = 16
BRIDGE = 1e-5  # the largest difference of an output, as a share of the largest output
CORRELATION = 0.9  # of file and fake-quantised model, over the images


def input_side(architecture: Architecture) -> int:
    """Small, and legal."""
    return max(architecture.smallest, LEAST if architecture.input_shape[0] > 32 else LEAST_CIFAR)


def measure(model: Any) -> Row:
    """Build the twins, train a step, convert, run, compare: the figures of a row."""
    import gc

    import numpy as np
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    from keras_inception.export.quantization.qat import bridge, fake_quantized, fine_tune
    from keras_inception.export.quantization.qat.tfmot import hushed
    from keras_inception.export.tflite import flatbuffer

    x = images(model.input_shape[1:])
    wanted = model.predict_on_batch(x)
    with hushed():
        plain = bridge.build(bridge.plan(model)).model(x).numpy()
        figures: Row = {"bridge": float(np.abs(plain - wanted).max() / np.abs(wanted).max())}
        wanted = centre(model, wanted)
        bridge = fake_quantized.fake_quantized(bridge.plan(model))
    fake_quantized.observe(bridge, [x])
    labels = np.arange(IMAGES) % wanted.shape[-1]

    with tf.GradientTape() as tape:  # eagerly: to trace a graph takes longer than to run it once
        logits = bridge.model(x, training=True)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
    variables = bridge.model.trainable_variables
    for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
        variable.assign_sub(1e-4 * gradient)
    fake_quantized.measure_kernels(bridge)
    fake, twin = bridge.model(x).numpy(), bridge.model
    del model, bridge, tape, logits, variables, variable, gradient
    gc.collect()  # networks have cycles, and to convert FractalNet-34 takes 11 GB
    content = fine_tune.to_int8(twin)
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
    """The network up to its logits, of its last exit, or up to an endpoint's mean, with weights that let images pass.

    Random weights are far from a trained network: each layer makes small differences larger, and after fifty layers a
    rounding decides. So batch norm gets statistics that fit its maps, a scale of either sign, and where a ReLU follows
    a shift with which most of a map passes it. Of what is then the same all over a map, but for the zeros around it, a
    kernel makes a frame that is in every image, and in small maps soon larger than what is not; so it is cancelled
    in front of batch norm (`without_constant`). And of N residual branches each is 1/sqrt(N) of that, or their sum
    forgets what it began with.
    """
    import keras
    import numpy as np

    from keras_inception.layers import DropPath

    keras.utils.set_random_seed(0)
    one_exit = {"exits": False} if architecture.exits else {}
    shape = (side, side, architecture.input_shape[-1])
    model = architecture.build(input_shape=shape, classifier_activation=None, **one_exit)
    if endpoint:
        model = keras.Model(model.input, keras.layers.GlobalAveragePooling2D()(model.get_layer(endpoint).output))
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in model.layers:
        if norms and isinstance(layer, keras.layers.Conv2D) and layer.kernel.shape[2] > shape[-1]:
            layer.kernel.assign(without_constant(layer))
    rng = np.random.default_rng(0)
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
    for layer in norms:
        layer.momentum = 0.99
    return model


def without_constant(layer: Any) -> Any:
    """A convolution's kernel without what it makes of maps that are 1 all over, zeros around them.

    Behind a depthwise convolution these are the sums of some of its weights, so that each of them is cancelled; a
    convolution of few channels would have nothing left of it, and has the mean cancelled.
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
    """Shift a network's logits to a mean of 0 over the images, as a trained classifier's are; what they become.

    What random weights give all images alike can be a hundred times what an image changes: of the 256 steps of an
    8-bit output an image would then move one or two, and the correlation would be that of their rounding.
    """
    import keras

    [*_, last] = (layer for layer in model.layers if layer.weights)
    if not isinstance(last, keras.layers.Dense):  # a few end in maps, a ReLU and a mean
        return logits
    last.bias.assign_sub(logits.mean(0))
    return logits - logits.mean(0)


def images(shape: tuple[int, ...]) -> Any:
    """Coarse blots of colour and some noise: (n, *shape) float32, deviation about 1."""
    import numpy as np
    import tensorflow as tf

    rng = np.random.default_rng(0)
    blots = tf.image.resize(rng.normal(size=(IMAGES, 4, 4, shape[-1])), shape[:2], "bicubic").numpy()
    return (blots + 0.2 * rng.normal(size=(IMAGES, *shape))).astype(np.float32)


def correlation(one: Any, other: Any) -> float:
    """Of what the images change in each output: an output that is the same for all of them counts for nothing."""
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
        "**bridge**: the largest difference of the Keras 2 twin from the Keras 3 network, as a share of the largest "
        f"logit (at most {BRIDGE:.0e}). Behind it, the logits of a dense layer are shifted to a mean of 0 over the "
        "images.",
        "**float**: operators of the file that compute in float, after a step of training and full int8 conversion.",
        "**file/fake**, **fake/float**: how far what an image changes in the logits correlates between the file in "
        f"LiteRT and the fake-quantised model (at least {CORRELATION}), and between that and the float network, whose "
        "weights are random, so that rounding tells more than in a trained one.",
        "**difference**: the largest of a logit between file and fake-quantised model, as a share of their range.",
    ),
    columns=("input", "bridge", "operators", "float", "bytes", "file/fake", "fake/float", "difference"),
    packages=("tensorflow", "keras", "tf_keras", "tensorflow-model-optimization", "ai-edge-litert"),
    measure=row,
)

if __name__ == "__main__":
    TABLE.main()
