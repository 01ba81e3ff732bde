"""The workers of a training on several machines: who they are, and how they connect.

Every worker runs the same command. The environment names them: the variable TF_CONFIG, or the Slurm step that the
process belongs to. The first of them is the chief.
"""

from __future__ import annotations

import json
import os
import re
from functools import cache

import tensorflow as tf

from ..errors import InputError, first_line
from ..terminal import note

TF_CONFIG = "TF_CONFIG"
CHIEFS, WORKERS = "chief", "worker"  # the jobs of a cluster that train; a chief, if there is one, is the first of them
PORTS, PORT_RANGE = 20_000, 10_000  # where Slurm's jobs find a port; two jobs of a node have different ones


def cluster() -> tf.distribute.cluster_resolver.ClusterResolver | None:
    """The workers that the environment names, and which of them this process is; None where it names none.

    Raises:
        InputError: TF_CONFIG is not what TensorFlow reads, or Slurm's names of the nodes are in another order.
    """
    if text := os.environ.get(TF_CONFIG, "").strip():
        return _of_tf_config(text)
    return _of_slurm() if int(os.environ.get("SLURM_STEP_NUM_TASKS") or 1) > 1 else None


def several() -> bool:
    """Whether the environment names more than one worker.

    Raises:
        InputError: as of `cluster`.
    """
    found = cluster()
    return found is not None and len(addresses(found)) > 1


@cache
def connected() -> tf.distribute.MultiWorkerMirroredStrategy:
    """The strategy over all workers, which waits until all have connected. The first call, of a process that has not
    computed anything by TensorFlow, connects.

    Raises:
        InputError: there are no two workers, TensorFlow has computed already, or the address cannot be listened at.
    """
    found = cluster()
    if found is None:
        raise InputError(
            f"multi_worker trains on two workers or more, and neither {TF_CONFIG} nor Slurm names them: "
            "train --print-config local prints an example"
        )
    workers, index = addresses(found), index_of(found)
    if len(workers) < 2:
        raise InputError(
            f"multi_worker trains on two workers or more, and the environment names {len(workers)}: "
            "leave --strategy out"
        )
    note(f"worker {index} of {len(workers)} at {workers[index]}: waiting until all have connected", style="")
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=found)
    except RuntimeError as error:
        if "program startup" not in str(error):
            raise
        raise InputError("TensorFlow has computed in this process already: train on several workers first") from None
    except tf.errors.OpError as error:
        raise InputError(f"worker {index} cannot listen at {workers[index]}: {first_line(error)}") from error


# ------------------------------------------------------------------------------------------------------------ internals


def _of_tf_config(text: str) -> tf.distribute.cluster_resolver.ClusterResolver | None:
    """The cluster of TF_CONFIG.

    Raises:
        InputError: it is no JSON of the form that TensorFlow reads, or has other jobs than those that train.
    """
    form = '{"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}'
    try:
        given = json.loads(text)
        jobs, task = given.get("cluster") or {}, given.get("task") or {}
        counts = {name: len(list(addresses)) for name, addresses in jobs.items()}
        kind, index = task.get("type"), task.get("index")
    except (ValueError, AttributeError, TypeError):
        raise InputError(f"{TF_CONFIG} must be {form}; got {text[:100]!r}") from None
    if not jobs:
        return None
    if others := set(jobs) - {CHIEFS, WORKERS}:
        raise InputError(f"{TF_CONFIG} names {', '.join(sorted(others))}; only {CHIEFS} and {WORKERS} train")
    if kind not in counts or not isinstance(index, int) or not 0 <= index < counts[kind]:
        raise InputError(f"{TF_CONFIG}: the task {kind!r} {index!r} is not one of the cluster's; give {form}")
    return tf.distribute.cluster_resolver.TFConfigClusterResolver()


def _of_slurm() -> tf.distribute.cluster_resolver.ClusterResolver:
    """The cluster of the Slurm step, a task a worker. Slurm, not the resolver, has given each task its GPUs.

    Raises:
        InputError: the resolver, which sorts the names of nodes, and Slurm have them in different orders.
    """
    tasks, rank = int(os.environ["SLURM_STEP_NUM_TASKS"]), int(os.environ["SLURM_PROCID"])
    port = PORTS + int(os.environ.get("SLURM_JOB_ID", 0)) * 100 % PORT_RANGE
    # It would ask nvidia-smi for GPUs, and divides by none; the numbers here only let it place the tasks.
    resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
        port_base=port, gpus_per_node=tasks, gpus_per_task=1, auto_set_gpu=False
    )
    spec = resolver.cluster_spec()
    host = spec.task_address(WORKERS, rank).rpartition(":")[0]
    here = os.environ.get("SLURMD_NODENAME", host)
    if host != here:
        raise InputError(
            f"Slurm runs task {rank} on {here}, and TensorFlow, which sorts the nodes by name, expects it on {host}: "
            f"set {TF_CONFIG} for each task"
        )
    return tf.distribute.cluster_resolver.SimpleClusterResolver(
        spec,
        task_type=WORKERS,
        task_id=rank,
        rpc_layer="grpc",
        num_accelerators={"GPU": len(tf.config.list_physical_devices("GPU"))},
    )


def addresses(resolver: tf.distribute.cluster_resolver.ClusterResolver) -> list[str]:
    """HOST:PORT of every worker, the chief first."""
    jobs = resolver.cluster_spec().as_dict()
    return [*jobs.get(CHIEFS, ()), *jobs.get(WORKERS, ())]


def index_of(resolver: tf.distribute.cluster_resolver.ClusterResolver) -> int:
    """Which of them this process is."""
    jobs = resolver.cluster_spec().as_dict()
    return resolver.task_id + (len(jobs.get(CHIEFS, ())) if resolver.task_type == WORKERS else 0)


def others_in(text: str, resolver: tf.distribute.cluster_resolver.ClusterResolver) -> list[str]:
    """The other workers that a text of TensorFlow's names by task or by address, as "worker 1 at HOST:PORT"."""
    workers, chiefs = addresses(resolver), len(resolver.cluster_spec().as_dict().get(CHIEFS, ()))
    tasks = re.findall(rf"/job:({CHIEFS}|{WORKERS})/(?:replica:\d+/)?task:(\d+)", text)
    named = {int(task) + (chiefs if job == WORKERS else 0) for job, task in tasks}
    named |= {i for i, address in enumerate(workers) if re.search(rf"\b{re.escape(address)}\b", text)}
    return [f"worker {i} at {workers[i]}" for i in sorted(named - {index_of(resolver)}) if i < len(workers)]
