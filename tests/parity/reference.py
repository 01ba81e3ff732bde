"""The reference's side, run by the reference environment's Python: PyTorch networks under our weights.

Reads one JSON request a line: {"reference", "kwargs", "outputs", "registered", "names", "exchange"}. `exchange` is an
.npz file with `image` (1 x H x W x C) and our units' arrays as "0/kernel", "0/bias", "1/gamma", ... Answers one JSON
line: {"version", "parameters"}, with the logits in place of the exchange file's arrays, or {"error"}.
"""

import importlib
import importlib.metadata
import json
import sys
import traceback

import numpy as np
import torch

from tests.parity.pairing import Arrays, Mismatch, Shapes, pair

PARAMETERS = {"weight": "kernel", "bias": "bias"}
NORM = {"weight": "gamma", "bias": "beta", "running_mean": "mean", "running_var": "variance"}


def build(reference: str, kwargs: dict) -> torch.nn.Module:
    library, name = reference.split(":")
    if library == "torchvision":
        return importlib.import_module("torchvision.models").get_model(name, weights=None, **kwargs)
    if library == "timm":
        return importlib.import_module("timm").create_model(name, pretrained=False, **kwargs)
    if library == "pretrainedmodels":
        return importlib.import_module("pretrainedmodels").__dict__[name](pretrained=None, **kwargs)
    if library == "pytorchcv" and "." in name:  # a family's own constructor, for depths and widths that have no name
        module, constructor = name.split(".")
        return getattr(importlib.import_module(f"pytorchcv.models.{module}"), constructor)(**kwargs)
    if library == "pytorchcv":
        return importlib.import_module("pytorchcv.model_provider").get_model(name, pretrained=False, **kwargs)
    if library == "facenet_pytorch":
        return getattr(importlib.import_module("facenet_pytorch"), name)(pretrained=None, **kwargs)
    raise Mismatch(f"unknown library {library!r}")


def executed(network: torch.nn.Module, x: torch.Tensor) -> dict[str, torch.nn.Module]:
    """Modules that own weights, by name, in the order in which a forward pass first runs them."""
    order: dict[str, torch.nn.Module] = {}
    hooks = [
        module.register_forward_pre_hook(lambda module, _, name=name: order.setdefault(name, module) and None)
        for name, module in network.named_modules()
        if any(True for _ in module.parameters(recurse=False)) or hasattr(module, "running_mean")
    ]
    with torch.no_grad():
        network(x)
    for hook in hooks:
        hook.remove()
    return order


def tensors(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A module's weights under `pairing`'s names."""
    names = NORM if hasattr(module, "running_mean") else PARAMETERS
    own = dict(module.named_parameters(recurse=False)) | dict(module.named_buffers(recurse=False))
    if unknown := set(own) - set(names) - {"num_batches_tracked"}:
        raise Mismatch(f"parity knows no {', '.join(unknown)} of a {type(module).__name__}")
    return {names[k]: own[k] for k in names if own.get(k) is not None}


def shapes(module: torch.nn.Module) -> Shapes:
    """As `pairing` wants them: a kernel is (height, width, in, out)."""
    return {k: _shape(v) if k == "kernel" else tuple(v.shape) for k, v in tensors(module).items()}


def _shape(kernel: torch.Tensor) -> tuple[int, ...]:
    out, channels, *size = kernel.shape
    return (*(size or (1, 1)), channels, out)


def load(order: dict[str, torch.nn.Module], names: list[str], units: list[Arrays]) -> None:
    modules = list(order.values())
    for module, arrays in zip(modules, pair(names, units, list(order), list(map(shapes, modules))), strict=True):
        for kind, tensor in tensors(module).items():
            array = arrays[kind].transpose(3, 2, 0, 1) if kind == "kernel" else arrays[kind]
            with torch.no_grad():
                tensor.copy_(torch.from_numpy(np.ascontiguousarray(array)).reshape(tensor.shape))


def answer(request: dict) -> dict:
    with np.load(request["exchange"]) as archive:
        image = archive["image"]
        units: list[Arrays] = [{} for _ in request["names"]]
        for key in archive.files:
            if key != "image":
                i, kind = key.split("/")
                units[int(i)][kind] = archive[key]
    network = build(request["reference"], request["kwargs"]).eval()
    # Auxiliary heads run in training only; the network's own flag says so, and its layers stay as they are used.
    network.training = len(request["outputs"]) > 1
    x = torch.from_numpy(np.ascontiguousarray(image.transpose(0, 3, 1, 2)))
    order = executed(network, x)
    if request["registered"]:
        order = {name: module for name, module in network.named_modules() if name in order}
    load(order, request["names"], units)
    with torch.no_grad():
        outputs = network(x)
    outputs = [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)
    logits = {k: v.numpy().reshape(-1) for k, v in zip(request["outputs"], outputs, strict=False)}
    np.savez(request["exchange"], **logits)
    library = request["reference"].split(":")[0].replace("facenet_pytorch", "facenet-pytorch")
    version = f"{library} {importlib.metadata.version(library)}, torch {torch.__version__.split('+')[0]}"
    return {"version": version, "parameters": sum(p.numel() for m in order.values() for p in m.parameters(False))}


def main() -> None:
    channel, sys.stdout = sys.stdout, sys.stderr  # libraries print
    torch.set_num_threads(2)
    for line in sys.stdin:
        try:
            reply = answer(json.loads(line))
        except Mismatch as mismatch:
            reply = {"error": str(mismatch)}
        except Exception:
            reply = {"error": traceback.format_exc()}
        print(json.dumps(reply), file=channel, flush=True)


if __name__ == "__main__":
    main()
