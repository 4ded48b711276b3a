"""Prometheus metrics of the web gateway."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class WebMetrics:
    """Counts requests by route template, such as "/v1/identify", never by actual path."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "compactface_web_requests",
            "HTTP requests answered.",
            ("method", "route", "status"),
            registry=registry,
        )
        self.seconds = Histogram(
            "compactface_web_request_seconds",
            "Seconds from the head of a request to the end of its answer.",
            ("method", "route"),
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self.in_flight = Gauge(
            "compactface_web_requests_in_flight", "HTTP requests in flight.", registry=registry
        )
