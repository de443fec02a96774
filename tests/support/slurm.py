"""A real Slurm of one node on this machine, without systemd: the daemons of Debian's packages slurm-wlm and munge.

It requeues jobs, kills one that uses more memory than it asked for, and keeps no accounts (sacct does not work).
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

PACKAGES = "slurm-wlm and munge"
_SECONDS = 30
_CONF = """\
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,sched_min_interval=0
ReturnToService=2
MailProg=/bin/true
JobRequeue=1
KillWait=5
SlurmdTimeout=5
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=4000 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def why_no_cluster() -> str | None:
    """Return why no such Slurm can be started here; None where it can."""
    lacks = [f"Debian's packages {PACKAGES}"] if not shutil.which("slurmctld") or not shutil.which("munged") else []
    lacks += ["the extra cluster"] if find_spec("submitit") is None else []
    lacks += ["root"] if os.getuid() or sys.platform != "linux" else []
    return f"make test-cluster needs {' and '.join(lacks)}" if lacks else None


class OneNode:
    """The daemons of a cluster with one node; `environment` is that of Slurm's commands."""

    def __init__(self, folder: Path) -> None:
        """`folder` is empty, and its users may enter it."""
        host = socket.gethostname().partition(".")[0]
        for name in ("state", "spool"):
            (folder / name).mkdir()
        conf = folder / "slurm.conf"
        conf.write_text(_CONF.format(host=host, folder=folder, cores=os.cpu_count(), ports=_free_ports(2)))
        self.environment = os.environ | {"SLURM_CONF": str(conf)}
        self._folder = folder
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start the daemons, and wait until the node takes jobs."""
        self._daemons["munged"] = _munge(self._folder)
        _until((self._folder / "munge.socket").exists, "munged", self._folder)
        self._start("slurmctld")
        self.start_node()

    def start_node(self) -> None:
        """Start the daemon of the node, at first or after `fail`."""
        self._start("slurmd")
        _until(lambda: "idle" in self.asked("sinfo", "-h"), "slurmd", self._folder)

    def asked(self, *command: str) -> str:
        """Return what a command of Slurm's prints."""
        done = subprocess.run(command, env=self.environment, capture_output=True, timeout=_SECONDS, check=False)
        return done.stdout.decode()

    def fail(self, job: str) -> None:
        """Let the node die as in a power cut, with a job that runs there."""
        rows = self.asked("scontrol", "listpids", self.id_of(job)).splitlines()[1:]
        pids = {int(row.split()[0]) for row in rows}
        parents = {_parent_of(pid) for pid in pids}
        self._daemons["slurmd"].kill()
        # The parents are slurmstepd, which would report the end of the job.
        for pid in (*(pid for pid in parents - pids if "slurmstepd" in _command_of(pid)), *pids):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def id_of(self, job: str) -> str:
        """Return the number of a job of its own that Slurm gives a part of an array."""
        return self.asked("squeue", "-h", "-j", job, "-o", "%A").strip()

    def preempt(self, job: str) -> None:
        """Send a job the signal with which Slurm announces its end; scancel would try again while it is requeued."""
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(["scancel", "--signal=USR2", job], env=self.environment, timeout=2, check=False)

    def hurry(self, job: str) -> None:
        """Let a job that was requeued start at once: Slurm makes it wait for two minutes."""
        self.asked("scontrol", "update", f"jobid={job}", "starttime=now")

    def stop(self) -> None:
        """End the jobs and the daemons."""
        self.asked("scancel", "-u", str(os.getuid()))
        for daemon in reversed(self._daemons.values()):
            daemon.terminate()
            with suppress(subprocess.TimeoutExpired):
                daemon.wait(_SECONDS)
            daemon.kill()

    def _start(self, daemon: str) -> None:
        command = [daemon, "-D"]
        self._daemons[daemon] = subprocess.Popen(command, env=self.environment, stderr=subprocess.DEVNULL)


@contextmanager
def one_node() -> Iterator[OneNode]:
    """Yield a cluster; Slurm's commands in the block talk to it."""
    # Not in pytest's folder, which other users, such as munge's, may not enter.
    with tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True) as folder:
        node = OneNode(Path(folder))
        before = os.environ.get("SLURM_CONF")
        try:
            node.start()
            os.environ["SLURM_CONF"] = node.environment["SLURM_CONF"]
            yield node
        finally:
            node.stop()
            os.environ.pop("SLURM_CONF")
            if before is not None:
                os.environ["SLURM_CONF"] = before


def _parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def _munge(folder: Path) -> subprocess.Popen[bytes]:
    """Start the daemon that signs messages, with a key of its own, as the user that its package makes."""
    user, files = pwd.getpwnam("munge"), [folder / "munge.key", folder / "munge"]
    files[0].write_bytes(secrets.token_bytes(1024))
    files[0].chmod(0o600)
    files[1].mkdir()
    for path in (folder, *files):
        os.chown(path, user.pw_uid, user.pw_gid)
    folder.chmod(0o755)
    command = ["munged", "--foreground", "--force", f"--key-file={files[0]}", f"--socket={folder}/munge.socket"]
    command += [f"--pid-file={files[1]}/pid", f"--log-file={files[1]}/log", f"--seed-file={files[1]}/seed"]
    return subprocess.Popen(command, user=user.pw_uid, group=user.pw_gid, stderr=subprocess.DEVNULL)


def _free_ports(number: int) -> list[int]:
    """Return ports that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _until(is_there: Callable[[], bool], what: str, folder: Path) -> None:
    """Wait for a daemon."""
    end = time.monotonic() + _SECONDS
    while not is_there():
        if time.monotonic() > end:
            raise RuntimeError(f"{what} did not come up; its log is in {folder}")
        time.sleep(0.1)
