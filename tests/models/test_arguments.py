"""Arguments are data: each is described, checked before anything is built, and known to editors."""

import inspect
import json
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import keras
import numpy as np
import pytest

import keras_inception as ki
from docs.generate import STUB, stub
from keras_inception import InputError
from keras_inception import arguments as module
from keras_inception.arguments import Argument, annotated, keyword_only
from keras_inception.builder import arguments, register
from keras_inception.layers import average_head
from keras_inception.registry import ARCHITECTURES, Architecture, Paper, get

every = pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=lambda a: a.name)


# -------------------------------------------------------------------------------------------------------- description


@every
def test_every_argument_is_described(architecture: Architecture) -> None:
    """In the docstring, in the signature's order, with what is allowed and the default."""
    text = inspect.getdoc(architecture.build) or ""
    listed = re.findall(r"^    (\w+): ", text[text.index("Args:") : text.index("Returns:")], re.MULTILINE)
    assert listed == list(inspect.signature(architecture.build).parameters) == list(arguments(architecture))
    for name, argument in arguments(architecture).items():
        assert argument.name == name
        assert argument.meaning.endswith(".")
        assert len(argument.doc) > 20
        assert max(map(len, argument.doc.splitlines())) <= 116
        assert argument.default is None or argument.check(argument.default) == argument.default


@every
def test_a_functions_arguments_are_described_or_fixed(architecture: Architecture) -> None:
    for function in (architecture.backbone, architecture.head):
        open_ = keyword_only(function).keys() - annotated(function).keys()
        undefined = {name for name in open_ if keyword_only(function)[name] is inspect.Parameter.empty}
        assert undefined <= architecture.fixed.keys()
        assert not annotated(function).keys() & architecture.fixed.keys()


def test_no_shared_description_is_unused() -> None:
    used = {argument.meaning for a in ARCHITECTURES.values() for argument in a.own_arguments.values()}
    shared = [
        extra.meaning
        for alias in vars(module).values()
        if get_origin(alias) is Annotated
        for extra in get_args(alias)[1:]
        if extra.meaning
    ]
    assert shared
    assert set(shared) <= used


def test_a_variant_may_only_set_arguments_that_exist() -> None:
    paper = Paper(title="A Test", authors="Nobody", year=2000, url="https://example.org")
    with pytest.raises(TypeError, match="neither the backbone nor the head takes alhpa"):
        register("X", "x", average_head, paper=paper, input_shape=(8, 8, 1), smallest=1, parameters=1, macs=1, alhpa=2)


# -------------------------------------------------------------------------------------------------------------- checks

WRONG: list[Any] = [
    None,
    True,
    0,
    -1,
    2.5,
    float("nan"),
    float("inf"),
    "nothing like it/",
    [],
    (),
    (1, 2),
    (32, 32, 2.5),
    [0.1] * 4,
    {},
    {"a": 1},
    np.zeros(3),
    object(),
    keras.Model,
]


def is_allowed(value: Any, argument: Argument) -> bool:
    """Which of `WRONG` an argument takes, by another implementation."""
    if argument.name == "weights":  # its values are checked by keras_inception.weights
        return value is None
    kinds = get_args(argument.type) if get_origin(argument.type) in (Union, UnionType) else (argument.type,)
    if value is None:
        return type(None) in kinds
    if isinstance(value, bool):
        return bool in kinds
    if isinstance(value, (int, float)):
        literals = [v for kind in kinds if get_origin(kind) is Literal for v in get_args(kind)]
        if value in literals:
            return True
        low, high = argument.at_least, argument.at_most
        inside = (low is None or value >= low) and (high is None or value <= high)
        inside &= (argument.above is None or value > argument.above) and (
            argument.below is None or value < argument.below
        )
        return inside and (float in kinds or (int in kinds and isinstance(value, int)))
    return False


@every
def test_a_wrong_value_is_refused_before_anything_is_built(
    architecture: Architecture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def built(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a network is being built")

    monkeypatch.setattr(keras, "Input", built)
    for name, argument in arguments(architecture).items():
        refused = 0
        for value in WRONG:
            if is_allowed(value, argument):
                continue
            with pytest.raises(InputError) as caught:
                architecture.build(**{name: value})
            message = str(caught.value)
            assert name in message, message
            assert "got" in message, message
            assert "\n" not in message
            assert len(message) < 400
            refused += 1
        assert refused > 9, name


@pytest.mark.parametrize(
    ("network", "given", "expected"),
    [
        ("lenet5", {"pooling": "mean"}, "pooling must be 'avg', 'max' or None; got 'mean'"),
        ("lenet5", {"classes": 2.0}, "classes must be a whole number of at least 1; got 2.0"),
        ("lenet5", {"input_shape": True}, "input_shape must be (height, width, channels), as (32, 32, 1), "),
        ("lenet5", {"input_shape": (32, 32, None)}, "or None; got (32, 32, None)"),
        ("lenet5", {"input_tensor": "x"}, "input_tensor must be a symbolic Keras tensor or None; got 'x'"),
        ("lenet5", {"classifier_activation": 3}, "'softmax', the name of another Keras activation, or None; got 3"),
        ("lenet5", {"classifier_activation": "softmaks"}, "or None; got 'softmaks'"),
        ("lenet5", {"name": 1.5}, "name must be a string without '/', or None; got 1.5"),
        ("lenet5", {"numerics": []}, "numerics must be 'tf' or Numerics; got []"),
        ("shufflenet_v1", {"groups": []}, "groups must be 1, 2, 3, 4 or 8; got []"),
        ("mobilenet_v1", {"alpha": 5}, "alpha must be a number in [0.01, 4]; got 5"),
        ("msdnet", {"step": 21}, "step must be a whole number from 1 to 20; got 21"),
        ("inception_resnet_v2", {"residual_scale": (0, 1, 1)}, "must be three numbers in (0, 1]; got (0, 1, 1)"),
        ("resnet50", {"stochastic_depth": 1.0}, "stochastic_depth must be a number in [0, 1); got 1.0"),
        ("zfnet", {"pool_first": 1}, "pool_first must be True or False; got 1"),
    ],
)
def test_the_message_has_argument_value_and_what_is_allowed(network: str, given: dict, expected: str) -> None:
    with pytest.raises(InputError, match=re.escape(expected)):
        get(network).build(**given)


@pytest.mark.parametrize(
    ("kind", "value", "plain"),
    [
        (int, np.int64(3), 3),
        (float, np.float32(0.5), 0.5),
        (float, Fraction(1, 2), 0.5),
        (float, 1, 1.0),
        (bool, np.bool_(True), True),
        (Literal[1, 2], np.int32(2), 2),
        (Literal["a", "b"] | None, None, None),
        (tuple[int | None, int | None, int], [None, np.int64(8), 3], (None, 8, 3)),
    ],
)
def test_values_of_numpy_and_json_become_plain(kind: Any, value: Any, plain: Any) -> None:
    found = Argument("X.", at_least=0, at_most=9, name="x", type=kind).check(value)
    assert found == plain
    assert type(found) is type(plain)


def test_a_network_takes_what_json_and_numpy_give() -> None:
    given = json.loads('{"input_shape": [32, 32, 1], "classes": 3, "name": "mine"}') | {"classes": np.int64(3)}
    model = ki.LeNet5(**given)
    assert (model.name, model.input_shape, model.output_shape) == ("mine", (None, 32, 32, 1), (None, 3))
    json.dumps(model.get_config())


# ------------------------------------------------------------------------------------------------------------ the stub


def test_the_stub_is_up_to_date(accept: bool) -> None:
    if accept:
        STUB.write_text(stub(), encoding="utf-8")
    assert STUB.read_text(encoding="utf-8") == stub(), "`python -m docs.generate` renews it"


def test_a_type_checker_knows_the_arguments(tmp_path: Path) -> None:
    """A wrong name and a wrong type are errors in the editor."""
    snippet = tmp_path / "snippet.py"
    lines = [
        "from keras_inception.models import InceptionV3, MobileNetV1",
        "MobileNetV1(alpha=0.5, input_shape=(64, 64, 3), numerics='torch')",
        "MobileNetV1(alhpa=0.5)",
        "InceptionV3(alpha=0.5)",
        "MobileNetV1(activation='tanh')",
        "MobileNetV1(0.5)",
    ]
    snippet.write_text("\n".join(lines))
    # Without the package's other imports it takes a second.
    flags = ["--follow-imports=skip", "--ignore-missing-imports", "--cache-dir", str(tmp_path), "--config-file="]
    command = [sys.executable, "-m", "mypy", *flags, "--no-error-summary", str(STUB), str(snippet)]
    found = subprocess.run(command, capture_output=True, text=True, cwd=STUB.parents[2], check=False).stdout
    assert sorted({int(n) for n in re.findall(r"snippet\.py:(\d+): error", found)}) == [3, 4, 5, 6], found
    assert '"alhpa"' in found
