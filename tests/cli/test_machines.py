"""What `train --print-config` prints, by the schemas of those who read it; `local` is run by a shell."""

import json
import shlex
import subprocess

import jsonschema
import pytest

TRAIN = ["train", "images/", "--out", "/data/My runs", "--model", "lenet5", "--no-flip", "--augment", "light",
         "--augment", "mixup=0.2", "--set", "alpha=0.5", "--json", "--strategy", "auto"]  # fmt: skip
PRINTED = ["keras-inception", *TRAIN[:-2], "--strategy", "multi_worker"]
NAME = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}
COUNT = {"type": "integer", "minimum": 1}


def record(required: dict, optional: dict | None = None) -> dict:
    """The schema of an object with these fields alone."""
    fields = required | (optional or {})
    return {"type": "object", "required": list(required), "properties": fields, "additionalProperties": False}


def several(item: dict) -> dict:
    return {"type": "array", "items": item, "minItems": 1}


TEXT = {"type": "string", "minLength": 1}
ENVIRONMENT = {"oneOf": [
    record({"name": TEXT, "value": TEXT}),
    record({"name": TEXT, "valueFrom": record({"fieldRef": record({"fieldPath": TEXT})})}),
]}  # fmt: skip
CONTAINER = record(
    {"name": NAME, "image": TEXT, "command": several(TEXT)},
    {
        "env": several(ENVIRONMENT),
        "ports": several(record({"containerPort": COUNT | {"maximum": 65535}})),
        "volumeMounts": several(record({"name": NAME, "mountPath": TEXT})),
    },
)
POD = record(
    {"restartPolicy": {"enum": ["Never", "OnFailure"]}, "containers": several(CONTAINER)},
    {"volumes": several(record({"name": NAME, "persistentVolumeClaim": record({"claimName": NAME})}))},
)
JOB = record(
    {"template": record({"spec": POD})},
    {
        "parallelism": COUNT,
        "completions": COUNT,
        "completionMode": {"enum": ["Indexed", "NonIndexed"]},
        "backoffLimit": {"type": "integer", "minimum": 0},
    },
)
JOBSET = record(
    {
        "apiVersion": {"const": "jobset.x-k8s.io/v1alpha2"},
        "kind": {"const": "JobSet"},
        "metadata": record({"name": NAME}),
        "spec": record(
            {"replicatedJobs": several(record({"name": NAME, "template": record({"spec": JOB})}, {"replicas": COUNT}))},
            {
                "network": record({}, {"enableDNSHostnames": {"type": "boolean"}, "subdomain": NAME}),
                "failurePolicy": record({}, {"maxRestarts": {"type": "integer", "minimum": 0}}),
            },
        ),
    }
)
CUSTOM_JOB = record(
    {
        "workerPoolSpecs": several(
            record(
                {
                    "machineSpec": record({"machineType": TEXT}),
                    "replicaCount": COUNT,
                    "containerSpec": record({"imageUri": TEXT, "command": several(TEXT)}),
                }
            )
        )
    }
)


@pytest.fixture
def printed(call):
    def printed(where: str) -> str:
        code, out, err = call(*TRAIN, "--print-config", where)
        assert code == 0, err
        return out

    return printed


def test_kubernetes(printed):
    jobset = json.loads(printed("kubernetes:3"))
    jsonschema.validate(jobset, JOBSET)
    [job] = jobset["spec"]["replicatedJobs"]
    spec = job["template"]["spec"]
    [container] = spec["template"]["spec"]["containers"]
    assert spec["parallelism"] == spec["completions"] == 3
    assert container["command"] == PRINTED
    config = json.loads(container["env"][1]["value"].replace("$(WORKER)", "2"))
    assert config["cluster"]["worker"] == [f"my-runs-worker-0-{i}.my-runs:2222" for i in range(3)]
    assert config["task"] == {"type": "worker", "index": 2}


def test_vertex(printed):
    job = json.loads(printed("vertex:4"))
    jsonschema.validate(job, CUSTOM_JOB)
    assert [pool["replicaCount"] for pool in job["workerPoolSpecs"]] == [1, 3]
    assert {tuple(pool["containerSpec"]["command"]) for pool in job["workerPoolSpecs"]} == {tuple(PRINTED)}


def test_slurm(printed):
    script = printed("slurm:4")
    assert "#SBATCH --nodes=4\n" in script
    assert subprocess.run(["sh", "-n"], input=script, text=True, check=False).returncode == 0
    assert shlex.split(script.splitlines()[-1]) == ["srun", "--kill-on-bad-exit=1", *PRINTED]


def test_local_lines_run(printed, tmp_path):
    """By a shell, with a program of that name that prints what it is given."""
    program = tmp_path / "keras-inception"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$TF_CONFIG"\n')
    program.chmod(0o755)
    lines = printed("local:3")
    done = subprocess.run(
        ["sh"], input=lines, text=True, capture_output=True, env={"PATH": f"{tmp_path}:/bin:/usr/bin"}
    )
    configs = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(config["task"]["index"] for config in configs) == [0, 1, 2]
    assert {len(set(config["cluster"]["worker"])) for config in configs} == {3}


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("lsf", "--print-config is one of local, slurm, kubernetes, vertex, with :WORKERS for their number; got 'lsf'"),
        ("slurm:1", "--print-config slurm:WORKERS is for 2 workers or more; got '1'"),
        ("slurm:two", "--print-config slurm:WORKERS is for 2 workers or more; got 'two'"),
    ],
)
def test_places_that_are_not_there(call, where, said):
    code, out, err = call(*TRAIN, "--print-config", where)
    assert (code, out, err) == (1, "", f"error: {said}\n")
