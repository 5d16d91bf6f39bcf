"""Runs the application in uvicorn: one process, until SIGTERM or SIGINT; running requests are answered first."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from signs_runtime.errors import OptionError
from signs_runtime.serving.app import make_app
from signs_runtime.serving.config import ServeConfig
from signs_runtime.serving.service import Service

_MAX_HEADER = 2**16  # bytes of a request's header, and of its trailers


class ImpatientProtocol(H11Protocol):
    """HTTP/1.1 that ends connections without progress: uvicorn alone waits for ever for a header, or for a reader.

    A connection is ended if for `patience` seconds it has no request that runs and begins none, or if its client takes
    nothing of what was written to it. So it is if there are too many.
    """

    patience = ServeConfig.timeout  # seconds
    most = ServeConfig().max_connections
    _watch: asyncio.TimerHandle | None = None
    _idle_since: float | None = None
    _last_cycle: object = None
    _unread: tuple[int, float] = (0, 0.0)  # bytes that wait for the client, and since when

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        if len(self.connections) > self.most:
            transport.abort()
            return
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        """End the connection if nothing moves; else look again a little later."""
        now = self.loop.time()
        runs = self.cycle is not None and not self.cycle.response_complete
        is_other = self.cycle is not self._last_cycle  # requests came and went since the last look
        self._last_cycle = self.cycle
        self._idle_since = None if runs else now if is_other or self._idle_since is None else self._idle_since
        waiting = self.transport.get_write_buffer_size()
        if not waiting or waiting < self._unread[0] or not self._unread[0]:
            self._unread = (waiting, now)
        is_stuck = waiting and now - self._unread[1] > self.patience
        if is_stuck or (self._idle_since is not None and now - self._idle_since > self.patience):
            self.transport.abort()
            return
        self._watch = self.loop.call_later(self.patience / 4, self._look)


def serve(service: Service, config: ServeConfig, on_start: Callable[[str], None]) -> None:
    """Serve until a signal ends it, or until the classifier cannot be opened; `on_start` gets the address.

    Raises what opening the classifier raises, and OptionError if the address cannot be had.
    """
    protocol = {"patience": config.timeout, "most": config.max_connections}
    settings = uvicorn.Config(
        make_app(service),
        http=type("Protocol", (ImpatientProtocol,), protocol),
        h11_max_incomplete_event_size=_MAX_HEADER,
        ws="none",
        access_log=False,
        log_level="error",
        server_header=False,
        timeout_graceful_shutdown=config.grace,
    )
    server = uvicorn.Server(settings)

    def end(*signalled: object) -> None:
        server.should_exit = True

    service.on_failure = end
    with _listening(config) as listening:
        # uvicorn answers what runs, and then raises the signal again: that would end this process as if it had failed.
        handled = {each: signal.signal(each, end) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            host, port = listening.getsockname()[:2]
            on_start(f"http://{f'[{host}]' if ':' in host else host}:{port}")
            server.run([listening])
        finally:
            for each, before in handled.items():
                signal.signal(each, before)
    if service.failure is not None:
        raise service.failure


def _listening(config: ServeConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    # With the protocol named, asyncio sends answers at once (TCP_NODELAY): without, clients wait 40 ms for each.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # a restart may take the port over; on Windows the option would let two share it
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((config.host, config.port))
        listening.listen()
    except (OSError, UnicodeError) as error:
        listening.close()
        reason = error.strerror if isinstance(error, OSError) else error
        raise OptionError(
            f"Cannot listen on {config.host}, port {config.port} ({reason}). Choose another --host or --port."
        ) from error
    return listening
