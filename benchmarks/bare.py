"""The ceiling of a check over HTTP: a bare ASGI handler under uvicorn, set up as the server's own, that decides over plain sets.

It reads the same JSON, looks the caller up in a dictionary by the whole `Authorization` header, and walks sets of subjects by
object and relation, for this corpus's model alone. It validates, authorizes, records and logs nothing.
"""

import sys
from collections import defaultdict

import msgspec
import uvicorn
from starlette.types import Receive, Scope, Send

from benchmarks.corpus import Corpus

KEEP_ALIVE_S = 75
YES, NO = b'{"allowed":true}', b'{"allowed":false}'


class Bare:
    """The handler. `callers` are the headers by which callers are known."""

    def __init__(self, corpus: Corpus, callers: dict[bytes, str]) -> None:
        self._callers = callers
        self._tuples: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        for fact in corpus.facts():
            self._tuples[fact.object, fact.relation].add(fact.user)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        message = await receive()
        body = message["body"]
        while message["more_body"]:
            message = await receive()
            body += message["body"]
        status, answer = 401, b"{}"
        for name, value in scope["headers"]:
            if name == b"authorization" and value in self._callers:
                asked = msgspec.json.decode(body)["tuple_key"]
                status = 200
                answer = YES if self._sees(asked["user"], asked["object"]) else NO
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    def _sees(self, user: str, object_: str) -> bool:
        tuples = self._tuples
        seers = tuples.get((object_, "viewer"), ())
        if user in seers or any(self._belongs(user, group) for group in seers if group.endswith("#member")):
            return True
        return any(self._sees(user, parent) for parent in tuples.get((object_, "parent"), ()))

    def _belongs(self, user: str, group: str) -> bool:
        members = self._tuples.get((group.removesuffix("#member"), "member"), ())
        return user in members or any(self._belongs(user, inner) for inner in members if inner.endswith("#member"))


def main() -> None:
    """Serve on a port: `python -m benchmarks.bare PORT TUPLES`; the caller's header is the first line of its input."""
    port, tuples = map(int, sys.argv[1:])
    header = sys.stdin.readline().strip().encode()
    uvicorn.run(
        Bare(Corpus(tuples), {header: "caller"}),
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
    )


if __name__ == "__main__":
    main()
