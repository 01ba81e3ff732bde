"""`train --print-config WHERE`: what to start on several machines, which all run one command. Starts nothing."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Sequence
from typing import Any

import typer

from ..errors import InputError

WORKERS = 2  # where no number is given
PORT = 2222
PROGRAM = "keras-inception"
OURS = ("print_config", "strategy")  # options of `train` that the printed commands do without, or set
FILL_IN = "IMAGE"  # a container image with the package, which nobody but the user can name


def printed(asked: str, context: typer.Context) -> str:
    """What WHERE or WHERE:WORKERS asks for, with the command's other options.

    Raises:
        InputError: there is no such place, or the number of workers is not 2 or more.
    """
    where, _, number = asked.partition(":")
    if where not in PLACES:
        raise InputError(f"--print-config is one of {', '.join(PLACES)}, with :WORKERS for their number; got {asked!r}")
    if number and not (number.isdecimal() and int(number) > 1):
        raise InputError(f"--print-config {where}:WORKERS is for 2 workers or more; got {number!r}")
    return PLACES[where](int(number or WORKERS), [*command_of(context), "--strategy", "multi_worker"])


def command_of(context: typer.Context) -> list[str]:
    """The command as it was given, without the options `OURS`."""
    words = [PROGRAM, str(context.command.name)]
    for parameter in context.command.params:
        name, value = str(parameter.name), context.params.get(str(parameter.name))
        source = context.get_parameter_source(name)
        if name in OURS or source is None or source.name != "COMMANDLINE":
            continue
        if parameter.param_type_name == "argument":
            words.append(str(value))
        elif getattr(parameter, "is_flag", False):
            words.append(parameter.opts[0] if value else parameter.secondary_opts[0])
        else:
            for each in value if isinstance(value, list | tuple) else [value]:
                words += [parameter.opts[0], str(each)]
    return words


def local(workers: int, command: Sequence[str]) -> str:
    """Shell lines: all workers on this machine, to try it out."""
    addresses = [f"127.0.0.1:{PORT + i}" for i in range(workers)]
    line = "TF_CONFIG={} {} &"
    started = [line.format(shlex.quote(_tf_config(addresses, i)), shlex.join(command)) for i in range(workers)]
    return "\n".join([*started, "wait"])


def slurm(workers: int, command: Sequence[str]) -> str:
    """A script for sbatch. The tasks find one another by Slurm's own variables."""
    return "\n".join(
        [
            "#!/bin/sh",
            f"#SBATCH --job-name={_name(command)}",
            f"#SBATCH --nodes={workers}",
            "#SBATCH --ntasks-per-node=1",
            "#SBATCH --requeue",
            "# For GPUs add, for example: #SBATCH --gpus-per-node=4",
            f"srun --kill-on-bad-exit=1 {shlex.join(command)}",
        ]
    )


def kubernetes(workers: int, command: Sequence[str]) -> str:
    """A JobSet (jobset.x-k8s.io/v1alpha2), as JSON, which kubectl reads. If a worker fails, it restarts all of them."""
    name = _name(command)
    # A pod's name in the JobSet's service: JOBSET-JOB-INDEX OF THE JOB-INDEX OF THE POD.JOBSET
    hosts = [f"{name}-worker-0-{i}.{name}:{PORT}" for i in range(workers)]
    index = {"fieldRef": {"fieldPath": "metadata.annotations['batch.kubernetes.io/job-completion-index']"}}
    container = {
        "name": "train",
        "image": FILL_IN,
        "command": list(command),
        "env": [
            {"name": "WORKER", "valueFrom": index},
            {"name": "TF_CONFIG", "value": _tf_config(hosts, "$(WORKER)")},  # Kubernetes puts the number in
        ],
        "ports": [{"containerPort": PORT}],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    pod = {"restartPolicy": "Never", "containers": [container], "volumes": [volume]}
    job = {
        "parallelism": workers,
        "completions": workers,
        "completionMode": "Indexed",
        "backoffLimit": 0,
        "template": {"spec": pod},
    }
    jobset = {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {"name": name},
        "spec": {
            "network": {"enableDNSHostnames": True, "subdomain": name},
            "failurePolicy": {"maxRestarts": 10},
            "replicatedJobs": [{"name": "worker", "replicas": 1, "template": {"spec": job}}],
        },
    }
    return json.dumps(jobset, indent=2)


def vertex(workers: int, command: Sequence[str]) -> str:
    """A CustomJobSpec, as JSON, for `gcloud ai custom-jobs create --config`. Vertex AI sets TF_CONFIG."""
    container = {"imageUri": FILL_IN, "command": list(command)}
    machine = {"machineType": "n1-standard-8"}
    pools = [{"machineSpec": machine, "replicaCount": n, "containerSpec": container} for n in (1, workers - 1)]
    return json.dumps({"workerPoolSpecs": pools}, indent=2)


PLACES: dict[str, Callable[[int, Sequence[str]], str]] = {
    "local": local,
    "slurm": slurm,
    "kubernetes": kubernetes,
    "vertex": vertex,
}


def _tf_config(addresses: Sequence[str], index: Any) -> str:
    """TF_CONFIG of one of these workers; an index of text is left without quotes."""
    cluster = json.dumps({"worker": list(addresses)})
    return f'{{"cluster": {cluster}, "task": {{"type": "worker", "index": {index}}}}}'


def _name(command: Sequence[str]) -> str:
    """The last part of --out as a name that Kubernetes takes in a pod's name too."""
    out = command[command.index("--out") + 1] if "--out" in command else ""
    return re.sub(r"[^a-z0-9]+", "-", out.rstrip("/").rpartition("/")[2].lower()).strip("-")[:40].strip("-") or "train"
