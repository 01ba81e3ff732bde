"""Every network trained quantised for a step and converted to int8: `python -m tests.conformance.qat [NAME ...]`.

Each network has random weights, batch norm that fits them, and its smallest input, in a process of its own. What is
measured goes into `qat.md` beside this file, row by row. A row of the same versions that is ok is not measured again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from keras_inception.registry import Architecture, architectures, get

from .networks import SLOW_TO_BUILD

TABLE = Path(__file__).with_suffix(".md")
PACKAGES = ("tensorflow", "keras", "tf_keras", "tensorflow-model-optimization", "ai-edge-litert")
FIGURES = ("bridge", "operators", "float", "bytes", "file/fake", "fake/float", "difference")
COLUMNS = ("network", "input", *FIGURES, "s", "ok")
LIMIT = 3600  # seconds a network
PICTURES = 16
LEAST = 35  # pixels a side: XNNPACK fails to prepare a ResNet50 for 32 x 32
LEAST_CIFAR = 16
BRIDGE = 1e-5  # the largest difference of an output, as a share of the largest output
CORRELATION = 0.9  # of file and fake-quantised model, over the pictures


def input_side(architecture: Architecture) -> int:
    """Small, and legal."""
    return max(architecture.smallest, LEAST if architecture.input_shape[0] > 32 else LEAST_CIFAR)


def measure(model: Any) -> dict[str, Any]:
    """Build the twins, train a step, convert, run, compare: the figures of a row."""
    import numpy as np
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    from keras_inception.export import _fake_quantized, _flatbuffer, quantize, tfmot_bridge
    from keras_inception.export._tfmot import hushed

    x = pictures(model.input_shape[1:])
    wanted = model.predict_on_batch(x)
    with hushed():
        plain = tfmot_bridge.build(tfmot_bridge.plan(model)).model.predict_on_batch(x)
        bridge = _fake_quantized.fake_quantized(tfmot_bridge.plan(model))
    _fake_quantized.observe(bridge, [x])
    labels = np.arange(PICTURES) % wanted.shape[-1]

    @tf.function(autograph=False)
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = bridge.model(x, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        variables = bridge.model.trainable_variables
        for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
            variable.assign_sub(1e-4 * gradient)
        return loss

    loss = step().numpy()
    _fake_quantized.measure_kernels(bridge)
    fake = bridge.model.predict_on_batch(x)
    content = quantize.to_int8(bridge.model)
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    [given], [answer] = interpreter.get_input_details(), interpreter.get_output_details()
    got = []
    for picture in x:
        interpreter.set_tensor(given["index"], picture[None])
        interpreter.invoke()
        got.append(interpreter.get_tensor(answer["index"])[0])
    file = np.stack(got)
    row: dict[str, Any] = {
        "bridge": float(np.abs(plain - wanted).max() / np.abs(wanted).max()),
        "operators": len(_flatbuffer.operators(content)),
        "float": len(_flatbuffer.float_operators(content)),
        "bytes": len(content),
        "file/fake": correlation(file, fake),
        "fake/float": correlation(fake, wanted),
        "difference": float(np.abs(file - fake).max() / np.ptp(fake)),
    }
    good = np.isfinite(loss) and row["bridge"] <= BRIDGE and row["float"] == 0 and row["file/fake"] >= CORRELATION
    return row | {"ok": "yes" if good else "no"}


def network(architecture: Architecture, side: int, endpoint: str | None = None) -> Any:
    """The network up to its logits, of its last exit, or up to an endpoint's mean, with weights that let pictures pass.

    Random weights are far from a trained network: each layer makes small differences larger, and after fifty layers a
    rounding decides. So batch norm gets statistics that fit its maps, a scale of either sign, and where a ReLU follows
    a shift with which most of a map passes it.
    """
    import keras
    import numpy as np

    keras.utils.set_random_seed(0)
    one_exit = {"exits": False} if architecture.exits else {}
    shape = (side, side, architecture.input_shape[-1])
    model = architecture.build(input_shape=shape, classifier_activation=None, **one_exit)
    if endpoint:
        model = keras.Model(model.input, keras.layers.GlobalAveragePooling2D()(model.get_layer(endpoint).output))
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    rng = np.random.default_rng(0)
    for layer in norms:
        layer.momentum = 0.0
        if layer.scale:
            layer.gamma.assign(0.5 * rng.choice([-1, 1, 1, 1], layer.gamma.shape))
        if any(isinstance(node.operation, keras.layers.ReLU) for node in layer._outbound_nodes):
            layer.beta.assign(np.ones(layer.beta.shape))
    model(pictures(shape), training=True)
    for layer in norms:
        layer.momentum = 0.99
    return model


def pictures(shape: tuple[int, ...]) -> Any:
    """Coarse blots of colour and some noise: (n, *shape) float32, deviation about 1."""
    import numpy as np
    import tensorflow as tf

    rng = np.random.default_rng(0)
    blots = tf.image.resize(rng.normal(size=(PICTURES, 4, 4, shape[-1])), shape[:2], "bicubic").numpy()
    return (blots + 0.2 * rng.normal(size=(PICTURES, *shape))).astype(np.float32)


def correlation(one: Any, other: Any) -> float:
    """Of what the pictures change in each output: an output that is the same for all of them counts for nothing."""
    import numpy as np

    a, b = ((outputs - outputs.mean(0)).ravel() for outputs in (one, other))
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


# ----------------------------------------------------------------------------------------------------------- the table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="networks; all by default, the cheapest first")
    parser.add_argument("--row", action="store_true", help="measure one network in this process and print its row")
    arguments = parser.parse_args()
    if arguments.row:
        started, architecture = time.monotonic(), get(arguments.names[0])
        side = input_side(architecture)
        row = {"network": architecture.name, "input": f"{side} x {side}"} | measure(network(architecture, side))
        print(json.dumps(row | {"s": round(time.monotonic() - started)}))
        return
    for name in arguments.names or names():
        rows = {row["network"]: row for row in read()}
        if rows.get(name, {}).get("ok") == "yes" and not arguments.names:
            continue
        rows[name] = run(name)
        write(rows.values())
        print(json.dumps(rows[name]), flush=True)
    if bad := [row["network"] for row in read() if row["ok"] != "yes"]:
        sys.exit(f"not ok: {', '.join(bad)}")


def names() -> list[str]:
    """All networks, the cheapest first."""
    return [architecture.name for architecture in sorted(architectures(), key=_cost)]


def _cost(architecture: Architecture) -> tuple[bool, int]:
    return architecture.name in SLOW_TO_BUILD, architecture.parameters or 0


def run(name: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.conformance.qat", "--row", name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    except subprocess.TimeoutExpired:
        return _failed(name, f"not done after {LIMIT} s")
    if done.returncode:
        return _failed(name, done.stderr.strip().splitlines()[-1][:200] if done.stderr.strip() else "killed")
    return json.loads(done.stdout.splitlines()[-1])


def _failed(name: str, reason: str) -> dict[str, Any]:
    return dict.fromkeys(COLUMNS, "") | {"network": name, "ok": reason.replace("|", "/")}


def versions() -> str:
    return ", ".join(f"{package} {version(package)}" for package in PACKAGES)


def read() -> list[dict[str, Any]]:
    """The rows of the table, if it was made by these versions."""
    if not TABLE.exists() or versions() not in (text := TABLE.read_text(encoding="utf-8")):
        return []
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return [dict(zip(COLUMNS, row, strict=True)) for row in cells[2:]]


def write(rows: Iterable[dict[str, Any]]) -> None:
    rows = sorted(rows, key=lambda row: row["network"])
    good = sum(row["ok"] == "yes" for row in rows)
    lines = [
        "# Quantisation-aware training, every network",
        "",
        f"{good} of {len(rows)} ok, {len(architectures())} networks in the registry. {date.today()}; {versions()}.",
        "",
        f"`make conformance-qat` measures the rows that are missing. Random weights, the smallest input that runs, "
        f"{PICTURES} pictures, logits.",
        "**bridge**: the largest difference of the Keras 2 twin from the Keras 3 network, as a share of the largest "
        f"logit (at most {BRIDGE:.0e}).",
        "**float**: operators of the file that compute in float, after a step of training and full int8 conversion.",
        "**file/fake**, **fake/float**: how far what a picture changes in the logits correlates between the file in "
        f"LiteRT and the fake-quantised model (at least {CORRELATION}), and between that and the float network, whose "
        "weights are random, so that rounding tells more than in a trained one.",
        "**difference**: the largest of a logit between file and fake-quantised model, as a share of their range.",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|" + "|".join("---" if column in ("network", "ok") else "---:" for column in COLUMNS) + "|",
        *("| " + " | ".join(_cell(row[column]) for column in COLUMNS) + " |" for row in rows),
    ]
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) > 1e-3 else f"{value:.1e}"
    return str(value)


if __name__ == "__main__":
    main()
