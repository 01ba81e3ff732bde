"""The PyTorch side of a proof, run in the reference environment: build a network, write or load a file."""

import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from tests.parity.reference import build

from .exchange import serve


def randomize(network: torch.nn.Module, images: torch.Tensor) -> None:
    """Give weights of order one, and moving statistics close to those of these images.

    Batch norm adds about 1, so that ReLU passes most of a map. Around 0 a hundred random layers amplify rounding:
    that of float32 changes a logit of ResNet-152 by 3e-3.
    """
    torch.manual_seed(0)
    norms = [m for m in network.modules() if hasattr(m, "running_mean")]
    for module in network.modules():
        own = dict(module.named_parameters(recurse=False))
        for name, parameter in own.items():
            if module in norms:
                parameter.uniform_(0.75, 1.25) if name == "weight" else parameter.normal_(1, 0.1)
            elif parameter.ndim > 1:
                parameter.normal_(0, (2 / parameter[0].numel()) ** 0.5)
            else:
                parameter.normal_(0, 0.1)
    [*_, last] = (module for module in network.modules() if hasattr(module, "weight"))
    last.weight *= 0.25
    hooks = [norm.register_forward_pre_hook(settle) for norm in norms]
    network(images)
    for hook in hooks:
        hook.remove()


def settle(norm: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
    """Set the moving statistics before the layer runs, so that later layers get its new output."""
    x = inputs[0].transpose(0, 1).flatten(1)
    mean, variance = x.mean(dim=1), x.var(dim=1)
    variance = variance.clamp(min=0.05 * float(variance.mean()) + 1e-3)
    norm.running_mean.copy_(mean + 0.1 * torch.randn_like(variance) * variance.sqrt())
    norm.running_var.copy_(variance * torch.empty_like(variance).uniform_(0.6, 1.6))


def save(network: torch.nn.Module, reference: str, path: Path) -> None:
    state = {k: v.contiguous() for k, v in network.state_dict().items()}
    if reference.startswith("torchvision:densenet"):  # as in the published files, which are older than the code
        state = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", k): v for k, v in state.items()}
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:  # Cadene's files are older than PyTorch's zip
        torch.save(state, path, _use_new_zipfile_serialization=not reference.startswith("pretrainedmodels:"))


def answer(request: Mapping[str, Any], images: np.ndarray) -> tuple[dict[str, np.ndarray], str]:
    x = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    network = build(request["reference"], request["kwargs"]).eval()
    network.training = len(request["outputs"]) > 1  # auxiliary heads run in training only, says the network's own flag
    path = Path(request["path"])
    if request.get("written"):  # by us
        network.load_state_dict(load_file(path) if path.suffix == ".safetensors" else torch.load(path), strict=True)
    with torch.no_grad():
        if not request.get("written"):
            randomize(network, x)
        outputs = network(x)
    if not request.get("written"):
        save(network, request["reference"], path)
    outputs = [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)
    logits = {k: v.numpy().reshape(len(x), -1) for k, v in zip(request["outputs"], outputs, strict=True)}
    library = request["reference"].split(":")[0].replace("facenet_pytorch", "facenet-pytorch")
    return logits, f"{library} {metadata.version(library)}, torch {torch.__version__.split('+')[0]}"


if __name__ == "__main__":
    serve(answer)
