"""Where a server listens: the address of the configuration and, on SQLite, a socket beside the file for whoever may read the file.

Nobody but the server's own user can open that socket (0600), so the commands of an operator prove themselves by it.
"""

import os
import resource
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tenantry.app.config import Config
from tenantry.core.errors import Invalid, Unsafe

BACKLOG = 2_048
FILES_WANTED = 8_192
"""Open files: connections, and what the node itself needs."""


def beside(database: Path) -> Path:
    """The socket of the server that holds a SQLite file."""
    return database.with_name(database.name + ".sock")


@contextmanager
def listening(config: Config) -> Iterator[tuple[list[socket.socket], list[str]]]:
    """Listen for the block; the sockets, and their addresses as a person would write them. The caller holds the database.

    Raises:
        Invalid: the address cannot be had.
        Unsafe: something that is no socket lies where the socket belongs, or its path is too long for one.
    """
    _raise_files()
    with ExitStack() as opened:
        tcp, address = _tcp(config)
        opened.enter_context(tcp)
        sockets, names = [tcp], [address]
        if config.database.file:
            path = beside(Path(config.database.file).absolute())
            sockets.append(opened.enter_context(_local(path)))
            opened.callback(path.unlink, missing_ok=True)
            names.append(str(path))
        yield sockets, names


def _tcp(config: Config) -> tuple[socket.socket, str]:
    host, port = config.http.address()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        server = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise Invalid(
            f"Cannot listen on {config.http.listen}: {error.strerror or error}.",
            hint="Another server may be there. Change http.listen.",
        ) from error
    bound = server.getsockname()[1]
    return server, f"http://[{host}]:{bound}" if family is socket.AF_INET6 else f"http://{host}:{bound}"


def _local(path: Path) -> socket.socket:
    """The socket, which nobody could open even for a moment before it is ours."""
    if os.path.lexists(path):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise Unsafe(f"{path} is no socket.", hint="Move it away.")
        path.unlink()  # of a server that was killed: whoever holds the database is the only one
    server = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        server.bind(str(path))
        server.listen(BACKLOG)
    except OSError as error:
        server.close()
        raise Unsafe(f"Cannot listen on {path}: {error}.", hint="Its path may be too long for a socket.") from error
    finally:
        os.umask(before)
    return server


def _raise_files() -> None:
    """Ask for as many open files as this user may have, up to what a server wants."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_WANTED if hard == resource.RLIM_INFINITY else min(FILES_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
