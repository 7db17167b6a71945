"""Requests to a server, within bounds: one deadline for each, a limited body, and an end when it is called for."""

import asyncio
import threading
import zlib
from concurrent.futures import CancelledError
from contextlib import aclosing
from dataclasses import dataclass

import httpx2

LIMIT = 2**20  # bytes of a body that are read, and unpacked; a verdict takes about 500
HEADERS = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}

SILENT = "without sending a response"  # httpx2's words, which has no error of its own for it


class WireError(RuntimeError):
    """No answer came: too late, broken off, a connection that failed, or none at all (attribute: unreachable)."""

    def __init__(self, message: str, unreachable: bool = False):
        super().__init__(message)
        self.unreachable = unreachable


@dataclass(frozen=True)
class Response:
    """A status, two headers as texts (empty where they are not there), and at most LIMIT + 1 bytes of the body."""

    status: int
    retry_after: str
    location: str
    body: bytes


class Wire:
    """Connections to one address. Use it with `with`; `post` may be called from many threads.

    The requests live in an event loop with a thread of its own: there a request ends at its deadline, or when all are
    broken off, wherever it stands. A thread that reads cannot be ended, and a time limit for each read is none for all.
    """

    def __init__(self, url: str, headers: dict[str, str], timeout_s: float):
        self.url, self.headers, self.timeout_s, self.aborted = url, headers, timeout_s, False

    def __enter__(self) -> "Wire":
        self.client = httpx2.AsyncClient(headers={**HEADERS, **self.headers}, timeout=None, limits=httpx2.Limits())
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="judge-wire", daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()
        asyncio.run_coroutine_threadsafe(self._close(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def post(self, content: bytes) -> Response:
        """Send JSON, and take what comes back.

        Raises:
            WireError: nothing came back, or `abort` was called.
        """
        try:
            return asyncio.run_coroutine_threadsafe(self._post(content), self.loop).result()
        except CancelledError:
            raise WireError("broken off") from None

    def abort(self) -> None:
        """Break off the requests that are under way, and every later one."""
        self.aborted = True
        self.loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(self.loop)])

    async def _post(self, content: bytes) -> Response:
        if self.aborted:
            raise asyncio.CancelledError
        try:
            return await asyncio.wait_for(self._exchange(content), self.timeout_s)
        except asyncio.TimeoutError:
            raise WireError(f"no answer in time: {self.timeout_s:g} s") from None
        except (httpx2.HTTPError, OSError) as error:
            said = str(error) or type(error).__name__
            spoke = isinstance(error, httpx2.RemoteProtocolError) and SILENT not in said  # but not HTTP
            raise WireError(f"no connection: {said}", unreachable=not spoke) from None

    async def _exchange(self, content: bytes) -> Response:
        body = bytearray()
        async with self.client.stream("POST", self.url, content=content) as response:
            async with aclosing(response.aiter_raw()) as pieces:
                async for piece in pieces:
                    body += piece
                    if len(body) > LIMIT:
                        break
        told = [response.headers.get(name, "") for name in ("Retry-After", "Location", "Content-Encoding")]
        return Response(response.status_code, told[0], told[1], unpacked(bytes(body[: LIMIT + 1]), told[2]))

    async def _close(self) -> None:
        while others := asyncio.all_tasks() - {asyncio.current_task()}:  # one that ends may leave others behind
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
        await self.client.aclose()


def is_address(url: str) -> bool:
    """Whether a request can be sent there."""
    try:
        address = httpx2.URL(url)
    except httpx2.InvalidURL:
        return False
    return address.scheme in ("http", "https") and bool(address.host)


def unpacked(body: bytes, packing: str) -> bytes:
    """A gzip body's first LIMIT + 1 bytes; what is packed in another way, or damaged, stays as it came."""
    if packing != "gzip":
        return body
    try:
        return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(body, LIMIT + 1)
    except zlib.error:
        return body
