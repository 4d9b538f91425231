"""A real SLURM on this machine, for tests: one controller, nodes that are processes, placeholder GPUs.

Touches nothing outside its folder: a munge key and socket of its own, no systemd, no cgroups. Memory and time limits
are enforced by SLURM itself; a GPU is a link to /dev/null that is counted, handed out and named, and never opened.
"""

import os
import random
import shutil
import socket
import subprocess
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "scontrol", "sbatch", "squeue", "srun")
SEARCH = os.pathsep.join((os.environ["PATH"], "/usr/sbin", "/sbin"))
TEMPLATE = """\
ClusterName=neurostatic
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.sock
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
PropagateResourceLimits=NONE
MailProg=/bin/true
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=UsePss,OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=0,bf_interval=2
ReturnToService=2
KillWait=2
InactiveLimit=0
MinJobAge=600
SlurmdTimeout=30
SlurmctldTimeout=4
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobs.log
SlurmdParameters=config_overrides
GresTypes=gpu
{nodes}
PartitionName=cpu Nodes=ALL Default=YES DefaultTime=10 MaxTime=600 State=UP
PartitionName=gpu Nodes=ALL DefaultTime=10 MaxTime=600 State=UP
"""


def missing_programs() -> list[str]:
    """Programs that a cluster needs and this machine lacks."""
    return [program for program in PROGRAMS if not shutil.which(program, path=SEARCH)]


class Cluster:
    """Started by `with`, stopped at its end with all of its jobs.

    Args:
        folder: of configuration, logs and sockets; its path must be short, as paths of sockets are.
        cpus, memory_mb, gpus: of a node; more than the machine has is allowed.
    """

    def __init__(self, folder: Path, n_nodes: int = 2, cpus: int = 2, memory_mb: int = 16000, gpus: int = 1):
        self.folder, self.nodes = folder, [f"node{i + 1}" for i in range(n_nodes)]
        self.size = {"CPUs": cpus, "RealMemory": memory_mb}
        self.gpus, self.daemons = gpus, {}
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH"))},
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": os.pathsep.join((str(folder / "bin"), SEARCH)),
        }

    def __enter__(self) -> "Cluster":
        self._write_configuration()
        try:
            socket_path = self.folder / "munge.sock"
            files = [f"--{name}={self.folder / file}" for name, file in (
                ("key-file", "munge.key"), ("socket", "munge.sock"), ("pid-file", "munged.pid"),
                ("seed-file", "munge.seed"), ("log-file", "munged.log"))]  # fmt: skip
            self._start("munged", "--foreground", "--force", *files)
            self._wait("munged", lambda: socket_path.exists())
            self.start_controller()
            for node in self.nodes:
                (self.folder / f"spool-{node}").mkdir()
                self._start("slurmd", "-D", "-N", node, name=node)
            self._wait("the nodes", lambda: set(self.states().values()) == {"idle"})
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        for job in self.jobs():
            self.run("scancel", "--signal=KILL", job)
        for name in reversed(list(self.daemons)):
            self._stop(name)

    def start_controller(self) -> None:
        self._start("slurmctld", "-D")
        self._wait("slurmctld", lambda: "UP" in self.run("scontrol", "ping").stdout)

    def stop_controller(self) -> None:
        self._stop("slurmctld")

    def run(self, *command: str) -> subprocess.CompletedProcess:
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)

    def states(self) -> dict[str, str]:
        """Node -> idle, mixed, allocated, drained, ..."""
        return dict(
            line.split() for line in self.run("sinfo", "-h", "-N", "-p", "cpu", "-o", "%N %T").stdout.splitlines()
        )

    def jobs(self, *options: str) -> dict[str, str]:
        """Number -> comment of the jobs that run or wait; Snakemake's comment is the rule and its wildcards."""
        listed = self.run("squeue", "-h", "-t", "running,pending,suspended,completing", *options, "-o", "%A %k").stdout
        return dict(line.split(" ", 1) for line in listed.splitlines())

    def _write_configuration(self) -> None:
        folder, host = self.folder, socket.gethostname().split(".")[0]
        for name in ("state", "bin", "dev"):
            (folder / name).mkdir()
        key = folder / "munge.key"
        key.write_bytes(random.randbytes(1024))
        key.chmod(0o600)
        folder.chmod(0o755)  # munged refuses a socket in a folder that others cannot read
        port = _free_ports(1 + len(self.nodes))
        size = " ".join(f"{name}={value}" for name, value in self.size.items())
        devices, lines = [], []
        for i, node in enumerate(self.nodes):
            gres = f" Gres=gpu:placeholder:{self.gpus}" if self.gpus else ""
            lines.append(f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port + 1 + i} {size}{gres}")
            for k in range(self.gpus):
                device = folder / "dev" / f"{node}-gpu{k}"
                device.symlink_to("/dev/null")
                devices.append(f"NodeName={node} Name=gpu Type=placeholder File={device}")
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
        settings = {"host": host, "port": port, "user": user, "folder": folder, "nodes": "\n".join(lines)}
        (folder / "slurm.conf").write_text(TEMPLATE.format(**settings))
        (folder / "gres.conf").write_text("\n".join(["AutoDetect=off", *devices]) + "\n")
        (folder / "cgroup.conf").write_text("")
        # Snakemake's job step drops every SLURM variable before it calls srun; this puts the configuration back.
        shim = folder / "bin" / "srun"
        srun = shutil.which("srun", path=SEARCH)
        shim.write_text(f'#!/bin/sh\nSLURM_CONF="{folder}/slurm.conf" exec "{srun}" "$@"\n')
        shim.chmod(0o755)
        # Without accounting, the executor forgets all jobs if it asks while the controller is away.
        accounting = folder / "bin" / "sacct"
        accounting.write_text('#!/bin/sh\nexec squeue --noheader --states=all --format="%A|%T"\n')
        accounting.chmod(0o755)

    def _start(self, program: str, *arguments: str, name: str = "") -> None:
        with open(self.folder / f"{name or program}.out", "ab") as out:
            self.daemons[name or program] = subprocess.Popen(
                [shutil.which(program, path=SEARCH), *arguments], env=self.environment, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            )  # fmt: skip

    def _stop(self, name: str) -> None:
        process = self.daemons.pop(name)
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _wait(self, what: str, ready, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > end:
                logs = sorted([*self.folder.glob("*.log"), *self.folder.glob("*.out")])
                tails = "\n".join(f"{path.name}:\n{path.read_text()[-2000:]}" for path in logs)
                raise TimeoutError(f"{what}: not up after {seconds} s\n{tails}")
            time.sleep(0.1)


def _free_ports(n: int) -> int:
    """The first of n free ports in a row."""
    while True:
        first = random.randrange(20000, 32000)
        try:
            for port in range(first, first + n):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
