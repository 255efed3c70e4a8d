"""A real Slurm of virtual nodes on this host: munge, MariaDB, slurmdbd, slurmctld, a slurmd for each node.

Debian: apt-get install slurm-wlm slurmdbd munge mariadb-server. Every daemon has its files in one folder and
ends with the block; nothing of the host's own Slurm is touched.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

DAEMONS = ("munged", "mariadbd", "mariadb-install-db", "slurmdbd", "slurmctld", "slurmd", "sbatch", "sacct")
SLURM_CONF = """\
ClusterName=virtual
SlurmctldHost={host}
SlurmctldPort={ctld}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
ReturnToService=2
SlurmdTimeout=60
KillWait=3
MinJobAge=300
SchedulerParameters=sched_interval=1,sched_min_interval=100000,batch_sched_delay=0
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={dbd}
AccountingStoragePass={folder}/munge.socket
JobAcctGatherType=jobacct_gather/none
PreemptType=preempt/none
JobRequeue=1
{nodes}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
DBD_CONF = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={dbd}
SlurmUser=root
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={sql}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm
"""


def lacking():
    """Why there can be no Slurm here, or None."""
    paths = {name: shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") for name in DAEMONS}
    absent = [name for name, path in paths.items() if path is None]
    if absent:
        return f"no {', '.join(absent)}: apt-get install slurm-wlm slurmdbd munge mariadb-server"
    return None if os.geteuid() == 0 else "its daemons are started as root"


def _free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _until(works, what, limit=60):
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if works():
            return
        time.sleep(0.2)
    raise AssertionError(f"{what} did not start within {limit} s")


def _ok(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


@contextmanager
def slurm(folder, count=3):
    """Start everything; yield the environment in which sbatch and sacct find it."""
    folder = Path(folder)
    environment = {
        **os.environ,
        "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
        "SLURM_CONF": str(folder / "slurm.conf"),
    }
    ports = {"ctld": _free_port(), "dbd": _free_port(), "sql": _free_port()}
    host = socket.gethostname().partition(".")[0]
    nodes = "\n".join(
        f"NodeName=v{n} NodeHostname={host} NodeAddr=127.0.0.1 Port={_free_port()} CPUs=2 RealMemory=1000 "
        "State=UNKNOWN"
        for n in range(1, count + 1)
    )
    for name in ("state", "db", *(f"spool.v{n}" for n in range(1, count + 1))):
        (folder / name).mkdir()
    folder.chmod(0o755)
    (folder / "slurm.conf").write_text(SLURM_CONF.format(folder=folder, host=host, nodes=nodes, **ports))
    (folder / "slurmdbd.conf").write_text(DBD_CONF.format(folder=folder, **ports))
    (folder / "slurmdbd.conf").chmod(0o600)
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    with ExitStack() as running:

        def start(*command):
            log = (folder / f"{Path(command[0]).name}.out").open("a")
            process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, start_new_session=True
            )
            running.callback(_end, process)
            return process

        start("munged", "--foreground", "--force", *(
            f"--{name}={folder}/munge.{end}"
            for name, end in (
                ("socket", "socket"), ("key-file", "key"), ("pid-file", "pid"), ("log-file", "log"),
                ("seed-file", "seed"),
            )
        ))  # fmt: skip
        data = [f"--datadir={folder}/db", "--user=root"]
        made = _ok("mariadb-install-db", "--no-defaults", "--skip-test-db", *data, env=environment)
        assert made.returncode == 0, made.stderr
        init = folder / "init.sql"
        init.write_text(
            "CREATE DATABASE slurm;\nCREATE USER 'slurm'@'127.0.0.1' IDENTIFIED BY 'slurm';\n"
            "GRANT ALL ON slurm.* TO 'slurm'@'127.0.0.1';\n"
        )
        start(
            "mariadbd", "--no-defaults", *data, f"--socket={folder}/sql.socket", f"--port={ports['sql']}",
            "--bind-address=127.0.0.1", f"--pid-file={folder}/sql.pid", f"--init-file={init}",
            "--innodb-buffer-pool-size=32M", "--skip-name-resolve", "--skip-log-bin",
        )  # fmt: skip
        _until(lambda: _listens(ports["sql"]), "mariadbd")
        start("slurmdbd", "-D")
        _until(lambda: _listens(ports["dbd"]), "slurmdbd")
        _ok("sacctmgr", "-i", "add", "cluster", "virtual", env=environment)
        start("slurmctld", "-D", "-c")
        _until(lambda: _listens(ports["ctld"]), "slurmctld")
        for n in range(1, count + 1):
            start("slurmd", "-D", "-N", f"v{n}")
        idle = ("sinfo", "-h", "-t", "idle", "-o", "%D")
        _until(lambda: _ok(*idle, env=environment).stdout.strip() == str(count), "the nodes")
        yield environment


def _listens(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def _end(process):
    with suppress(psutil.NoSuchProcess):
        family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
        process.send_signal(signal.SIGTERM)
        _, alive = psutil.wait_procs(family, 10)
        for one in alive:
            one.kill()
    process.wait()
