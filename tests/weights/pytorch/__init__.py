"""Small files as PyTorch 2.13 writes them, so that no test needs PyTorch.

`python tests/weights/pytorch/__init__.py` writes them again; it needs PyTorch and nothing else.
"""

import argparse
import datetime
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def write() -> None:
    """The network of `test_readers.ARRAYS` in every form, and what is refused."""
    import numpy as np
    import torch

    weight, bias = torch.arange(24.0).reshape(4, 3, 2), torch.ones(3)
    state = OrderedDict({"conv.weight": weight, "fc.bias": bias})
    other = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([parameter], lr=0.1)
    parameter.sum().backward()
    optimizer.step()
    parallel = {f"module.{name}": tensor for name, tensor in state.items()}
    whole = torch.nn.Sequential(torch.nn.Linear(2, 2))

    def save(name: str, content: Any, **options: Any) -> None:
        torch.save(content, HERE / name, **options)

    save("plain.pth", state)
    save("old.pth", {"state_dict": state, "epoch": 3}, _use_new_zipfile_serialization=False)
    save("parameters.pt", {name: torch.nn.Parameter(tensor) for name, tensor in state.items()})
    save("parallel.bin", parallel)
    save("compiled.pth", {f"_orig_mod.module.{name}": tensor for name, tensor in state.items()})
    save("averaged.pth", {"model": other, "model_ema": {"n_averaged": torch.tensor(7), **parallel}})
    save("lightning.ckpt", {"state_dict": {f"model.{k}": v for k, v in state.items()}, "loops": {"fit_loop": {}}})
    save("nested.pth.tar", {"net": {"model_state_dict": parallel}, "best_acc1": torch.tensor(70.0), "arch": "resnet18"})
    script = {
        "args": argparse.Namespace(lr=0.1, output_dir=Path("runs")),
        "model": state,
        "optimizer": optimizer.state_dict(),
        "scheduler": {"counter": Counter({4: 1}), "groups": defaultdict(list, a=[1])},
        "rng": np.random.RandomState(0).get_state(),
        "best": np.float64(0.7),
        "when": datetime.datetime(2024, 2, 29, tzinfo=datetime.UTC),
        "facts": (torch.Size([2, 3]), torch.device("cpu"), torch.float16, {1, 2}, b"bytes", 2**70),
    }
    save("script.pth", script)
    save("old_script.pt", script, _use_new_zipfile_serialization=False)
    both = torch.cat([torch.full((1,), 9.0), weight.permute(2, 0, 1).reshape(-1), bias])
    views = {"conv.weight": both[1:25].reshape(2, 4, 3).permute(1, 2, 0), "fc.bias": both[25:]}
    save("views.pth", views)
    save("old_views.pth", views, _use_new_zipfile_serialization=False)
    save("half.pth", {"conv.weight": weight.half(), "fc.bias": bias.bfloat16(), "steps": torch.tensor([3])})

    save("float8.pth", {"conv.weight": weight.to(torch.float8_e4m3fn)})
    save("quantised.pth", {"conv.weight": torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8)})
    save("complex.pth", {"conv.weight": weight.to(torch.complex64)})
    save("whole.pth", whole)
    save("old_whole.pth", whole, _use_new_zipfile_serialization=False)
    save("whole_in.pt", {"model": whole, "epoch": 3})
    save("list.pth", [bias])
    save("optimizer.pth", {"optimizer": optimizer.state_dict(), "epoch": 3})
    save("expanded.pth", {"conv.weight": torch.ones(1).expand(10**6, 10**6)})
    torch.jit.save(torch.jit.trace(whole, torch.ones(1, 2)), HERE / "traced.pt")


if __name__ == "__main__":
    write()
