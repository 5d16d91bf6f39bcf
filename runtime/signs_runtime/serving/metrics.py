"""What Prometheus reads at /metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_PICTURES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        own = self.registry = CollectorRegistry()
        self.requests = Counter("signs_requests", "Answered requests.", ("path", "status"), registry=own)
        self.seconds = Histogram(
            "signs_request_seconds",
            "Time from a request's header to its answer.",
            ("path",),
            buckets=_SECONDS,
            registry=own,
        )
        self.batch = Histogram(
            "signs_batch_pictures", "Pictures in one run of the model.", buckets=_PICTURES, registry=own
        )
        self.labels = Counter("signs_labels", "Labels given to pictures.", ("label",), registry=own)
        self.open = Gauge("signs_open_requests", "Requests that have arrived and wait for an answer.", registry=own)
        self.held = Gauge("signs_held_bytes", "Bytes of all bodies that are held.", registry=own)
        self.ready = Gauge("signs_ready", "1 if the model is ready to answer.", registry=own)
