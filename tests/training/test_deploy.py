"""Files for clusters: they are whole, and the command lines in them start, stop and resume a run here."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import yaml

from pdlm_cli.training.job import load_job
from tests.cli.support import REPOSITORY
from tests.training.support import ENVIRONMENT, finish, interrupt, interruptible, losses, squares

DEPLOY = REPOSITORY / "jobs/deploy"
SBATCH, KUBERNETES = DEPLOY / "slurm/train.sbatch", DEPLOY / "kubernetes/train.yaml"

# Slurm on one machine: srun runs its command in a process group of its own, scancel signals all of that.
SLURM = {
    "srun": """while [[ $1 == --* ]]; do shift; done
echo $$ > "$SLURM_FOLDER/group"
exec setsid "$@" """,
    "scancel": """[[ $1 == --signal=TERM && $2 == "$SLURM_JOB_ID" ]]
kill -TERM -- "-$(cat "$SLURM_FOLDER/group")" """,
    "scontrol": """case "$1 $2" in
    "show hostnames") echo localhost ;;
    "requeue $SLURM_JOB_ID") echo requeued > "$SLURM_FOLDER/requeued" ;;
    *) exit 1 ;;
esac""",
}


def kubernetes() -> dict[str, dict]:
    return {part["kind"]: part for part in yaml.safe_load_all(KUBERNETES.read_text())}


def environment(folder: Path, **more: str) -> dict[str, str]:
    """With torchrun, and programs of Slurm, on PATH."""
    programs = folder / "programs"
    programs.mkdir()
    for name, script in SLURM.items():
        (programs / name).write_text(f"#!/usr/bin/env bash\nset -eu\n{script}\n")
        (programs / name).chmod(0o755)
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    return ENVIRONMENT | {"PATH": path, "SLURM_FOLDER": str(folder)} | more


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return int(found.getsockname()[1])


def test_a_slurm_job_that_is_out_of_time_goes_on_as_a_kubernetes_job(tmp_path):
    output = tmp_path / "out"
    values = interruptible(squares(tmp_path / "data", 6, columns=2), output, strategy="fsdp2", max_steps=16)
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(values))
    slurm = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_JOB_NODELIST": "localhost", "SLURM_JOB_NUM_NODES": "1"}
    begun = subprocess.Popen(
        ["bash", str(SBATCH), str(file), "report.log=1"],
        env=environment(tmp_path, **slurm, SLURM_GPUS_ON_NODE="2"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    interrupt({output: begun}, {output: signal.SIGUSR1}, step=3)
    assert "stopped at step" in finish(begun)
    assert (tmp_path / "requeued").exists()
    assert not (output / "model").exists()

    [container] = kubernetes()["Job"]["spec"]["template"]["spec"]["containers"]
    changes = {"--nnodes": 1, "--nproc-per-node": 2, "--rdzv-endpoint": f"localhost:{free_port()}"}
    words = [str(file) if word == "jobs/train/region.yaml" else word for word in container["command"]]
    words = [
        f"{name}={changes.get(name, value)}" if value else name for name, _, value in (w.partition("=") for w in words)
    ]
    resumed = subprocess.Popen(
        [str(Path(sys.executable).parent / words[0]), *words[1:]],
        env=ENVIRONMENT | {entry["name"]: entry["value"] for entry in container["env"]},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert "checkpoint-" in finish(resumed)
    assert (output / "model").exists()
    assert sorted(losses(output)) == list(range(1, 17))


def test_the_sbatch_file_is_bash_headed_by_its_command():
    subprocess.run(["bash", "-n", str(SBATCH)], check=True)
    lines = SBATCH.read_text().splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert lines[1].startswith(f"# sbatch {SBATCH.relative_to(REPOSITORY)} jobs/train/region.yaml")
    options = dict(re.findall(r"^#SBATCH --([\w-]+)=?(\S*)$", SBATCH.read_text(), re.MULTILINE))
    assert options.keys() >= {"requeue", "signal", "nodes", "time", "output"}
    warned = int(options["signal"].partition("@")[2])
    assert warned > int(re.search(r"SHUTDOWN_TIMEOUT=(\d+)", SBATCH.read_text()).group(1))


def test_the_pods_of_the_kubernetes_job_find_each_other_and_have_time_for_a_checkpoint():
    service, work = kubernetes()["Service"], kubernetes()["Job"]
    spec, pod = work["spec"], work["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == {"job-name": work["metadata"]["name"]}
    assert pod["subdomain"] == service["metadata"]["name"]
    assert spec["completionMode"] == "Indexed"
    arguments = dict(word.split("=", 1) for word in container["command"] if word.startswith("--") and "=" in word)
    assert int(arguments["--nnodes"]) == spec["completions"] == spec["parallelism"]
    name = work["metadata"]["name"]
    assert arguments["--rdzv-endpoint"].split(":")[0] == f"{name}-0.{service['metadata']['name']}"
    assert int(arguments["--nproc-per-node"]) == container["resources"]["limits"]["nvidia.com/gpu"]
    patience = {entry["name"]: entry["value"] for entry in container["env"]}["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"]
    assert int(patience) < pod["terminationGracePeriodSeconds"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    load_job(REPOSITORY / container["command"][-2])
    assert container["command"][-1] == "--resume"
