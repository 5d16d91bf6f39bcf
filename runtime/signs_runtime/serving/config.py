"""Settings of a server: where it listens, and the limits that keep its memory and its queue bounded."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ServeConfig:
    """Settings of `signs serve`; times are in seconds."""

    host: str = "127.0.0.1"
    port: int = 8000  # 0: any free port
    batch: int | None = None  # pictures in one run of the model at most; None: as `signs tune` measured
    max_bytes: int = 16 * 2**20  # of a request's body
    max_waiting: int = 64  # requests whose bodies have arrived and that wait for their answers
    timeout: float = 10.0  # for a request, and for what a client takes to send or read anything
    grace: int = 8  # for running requests after SIGTERM; docker kills after 10

    @property
    def max_held(self) -> int:
        """Bytes of all bodies together."""
        return 8 * self.max_bytes

    @property
    def max_connections(self) -> int:
        return max(256, 4 * self.max_waiting)

    @property
    def max_pictures(self) -> int:
        """Pictures in one request."""
        return self.max_waiting
