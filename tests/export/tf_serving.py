"""A stand-in for TensorFlow Serving's REST server, on the loopback interface.

The package registries have no TensorFlow Serving, so its predict API is implemented here on `tf.saved_model.load`, as
its documentation (tensorflow.org/tfx/serving/api_rest) and its source (util/json_tensor.cc) state it: the newest
numbered version, row form (`instances`) and columnar form (`inputs`), `signature_name`, base64, named and unnamed
outputs, one batch size for all outputs of the row form, errors as JSON. It has no batching, metadata or gRPC.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import tensorflow as tf

PREDICT = re.compile(r"/v1/models/(?P<model>[^/:]+)(?:/versions/(?P<version>\d+))?:predict")


class Invalid(ValueError):
    """A request that TensorFlow Serving replies to with status 400."""


class Server:
    """Serves the models of a folder, `NAME/VERSION/saved_model.pb`, while the `with` block runs."""

    def __init__(self, folder: str | Path) -> None:
        self.folder, self.loaded = Path(folder), {}

    def __enter__(self) -> Server:
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.http.shutdown()
        self.http.server_close()

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        """A client's request: (status, JSON). `body` is JSON text, or what becomes JSON."""
        content = (body if isinstance(body, str) else json.dumps(body)).encode()
        address = f"http://127.0.0.1:{self.http.server_port}{path}"
        try:
            with urlopen(Request(address, content, {"Content-Type": "application/json"}), timeout=60) as reply:
                return reply.status, json.load(reply)
        except HTTPError as error:
            return error.code, json.load(error)

    def reply(self, path: str, body: bytes) -> tuple[int, Any]:
        """What the server replies."""
        if not (match := PREDICT.fullmatch(path)):
            return 404, {"error": "Not Found"}
        try:
            return 200, predict(self.model(match["model"], match["version"]), json.loads(body))
        except FileNotFoundError as error:
            return 404, {"error": f"Servable not found for request: {error}"}
        except (Invalid, json.JSONDecodeError, tf.errors.InvalidArgumentError) as error:
            return 400, {"error": str(error)}

    def model(self, name: str, version: str | None) -> Any:
        folders = [f for f in (self.folder / name).glob("*") if f.name.isdecimal() and version in (None, f.name)]
        if not folders:
            raise FileNotFoundError(f"{'Latest' if version is None else 'Specific'}({name})")
        newest = max(folders, key=lambda folder: int(folder.name))
        if newest not in self.loaded:
            self.loaded[newest] = tf.saved_model.load(str(newest))
        return self.loaded[newest]


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, reply = server.reply(self.path, self.rfile.read(int(self.headers["Content-Length"])))
            content = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def predict(model: Any, request: Any) -> dict[str, Any]:
    """The response to a predict request.

    Raises:
        Invalid: the request is not in the documented format, or the outputs do not fit its form.
    """
    if not isinstance(request, dict):
        raise Invalid("JSON Value: Is not object")
    name = request.get("signature_name", "serving_default")
    if name not in model.signatures:
        raise Invalid(f'Serving signature name: "{name}" not found in signature def')
    signature = model.signatures[name]
    specs = signature.structured_input_signature[1]
    if ("instances" in request) == ("inputs" in request):
        raise Invalid("expecting one of 'inputs' or 'instances' keys to exist")
    rows = "instances" in request
    inputs = _from_rows(request["instances"], specs) if rows else _from_columns(request["inputs"], specs)
    tensors = {key: tf.constant(value, specs[key].dtype, shape=np.shape(value)) for key, value in inputs.items()}
    outputs = {key: _plain(key, value) for key, value in sorted(signature(**tensors).items())}
    return {"predictions": _to_rows(outputs)} if rows else {"outputs": _alone(outputs)}


def _from_rows(instances: Any, specs: dict[str, tf.TensorSpec]) -> dict[str, np.ndarray]:
    if not isinstance(instances, list):
        raise Invalid("Excepting 'instances' to be an list/array")
    if not instances:
        raise Invalid("No values in 'instances' array")
    if _is_object(instances[0]):
        for instance in instances:
            if not _is_object(instance) or set(instance) != set(specs):
                raise Invalid(f"Failed to process element of 'instances': keys must be equal to: {','.join(specs)}")
        columns = {key: [instance[key] for instance in instances] for key in specs}
    elif len(specs) > 1:
        raise Invalid("instances is a plain list, but expecting list of objects as multiple input tensors required")
    else:
        columns = {next(iter(specs)): instances}
    return {key: _tensor(column, specs[key].dtype) for key, column in columns.items()}


def _from_columns(inputs: Any, specs: dict[str, tf.TensorSpec]) -> dict[str, np.ndarray]:
    if not _is_object(inputs):
        if len(specs) > 1:
            raise Invalid("inputs is a plain value/list, but expecting an object as multiple input tensors required")
        inputs = {next(iter(specs)): inputs}
    if missing := [key for key in specs if key not in inputs]:
        raise Invalid(f"Missing named input: {missing[0]} in 'inputs' object.")
    return {key: _tensor(inputs[key], spec.dtype) for key, spec in specs.items()}


def _tensor(value: Any, dtype: tf.DType) -> np.ndarray:
    """Nested lists of one shape, with leaves of the type."""

    def shape(part: Any) -> tuple[int, ...]:
        return (len(part), *(shape(part[0]) if part else ())) if isinstance(part, list) else ()

    def leaves(part: Any, expected: tuple[int, ...]) -> list[Any]:
        if isinstance(part, list) and (not expected or len(part) != expected[0]):
            raise Invalid(f"Encountered list at unexpected size: {len(part)} expected: {expected[:1]}")
        if not isinstance(part, list):
            if expected:
                raise Invalid(f"JSON Value: {part!r:.40} found at incorrect level")
            return [_leaf(part, dtype)]
        return [leaf for item in part for leaf in leaves(item, expected[1:])]

    whole = shape(value)
    flat = np.array(leaves(value, whole), object)
    if dtype.is_integer:
        flat = flat.astype(np.int64)  # and then wrapped, as the server does
    return (flat if dtype == tf.string else flat.astype(dtype.as_numpy_dtype)).reshape(whole)


def _leaf(value: Any, dtype: tf.DType) -> Any:
    if _is_base64(value) and dtype == tf.string:
        try:
            return base64.b64decode(value["b64"], validate=True)
        except binascii.Error:
            raise Invalid("Unable to base64 decode") from None
    expected = str if dtype == tf.string else (int if dtype.is_integer else (int, float))
    if not isinstance(value, expected):
        raise Invalid(f"JSON Value: {value!r:.40} is not of expected type: {dtype.name}")
    return value.encode() if isinstance(value, str) else value


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _plain(name: str, output: tf.Tensor) -> Any:
    """An output as JSON: strings as text, or as base64 if the name says that they are bytes."""
    if output.dtype != tf.string:
        return output.numpy().tolist()

    def text(value: Any) -> Any:
        if isinstance(value, list):
            return [text(item) for item in value]
        return {"b64": base64.b64encode(value).decode()} if name.endswith("_bytes") else value.decode()

    return text(output.numpy().tolist())


def _to_rows(outputs: dict[str, Any]) -> list[Any]:
    for name, values in outputs.items():
        if not isinstance(values, list):
            raise Invalid(f"Tensor name: {name} has no shape information")
        if len(values) != (expected := len(next(iter(outputs.values())))):
            raise Invalid(f"Tensor name: {name} has inconsistent batch size: {len(values)} expecting: {expected}")
    if len(outputs) == 1:
        return next(iter(outputs.values()))
    return [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]


def _alone(outputs: dict[str, Any]) -> Any:
    return next(iter(outputs.values())) if len(outputs) == 1 else outputs
