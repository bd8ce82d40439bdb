"""What Prometheus reads. Labels come from declarations alone (routes, methods, statuses), so nobody outside makes new series."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from tenantry.app.logs import Sink
from tenantry.app.node import Node
from tenantry.web import Raw


class Metrics:
    """The measures of one server, in a registry of its own."""

    def __init__(self, node: Node, sink: Sink, under_way: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(_NodeCollector(node, sink, under_way))
        self._answered = Counter(
            "tenantry_requests", "Requests answered.", ("method", "route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "tenantry_request_seconds", "From a request's headers to its answer.", ("route",), registry=self._registry
        )

        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        known = self._known.get((method, route, status))
        if known is None:
            known = self._answered.labels(method, route, str(status)), self._seconds.labels(route)
            self._known[method, route, status] = known
        known[0].inc()
        known[1].observe(seconds)

    def exposition(self) -> Raw:
        """Everything, in Prometheus' text format."""
        return Raw(generate_latest(self._registry), CONTENT_TYPE_LATEST)


class _NodeCollector(Collector):
    """Reads the node when it is asked, from memory."""

    def __init__(self, node: Node, sink: Sink, under_way: Callable[[], int]) -> None:
        self._node = node
        self._sink = sink
        self._under_way = under_way

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        node, health = self._node, self._node.health()
        yield GaugeMetricFamily("tenantry_ready", "1 while the node is ready.", health.ready)
        yield GaugeMetricFamily("tenantry_storage_full", "1 while writes find no space.", health.storage_full)
        yield GaugeMetricFamily(
            "tenantry_lease_age_seconds", "Since the last read of the changelog began.", node.lease.age_ms() / 1000
        )
        yield GaugeMetricFamily(
            "tenantry_clock_skew_seconds", "This node's clock against the database's.", health.skew_ms / 1000
        )
        yield GaugeMetricFamily(
            "tenantry_unsigned_seconds", "Since anybody could sign the logs.", health.unsigned_ms / 1000
        )
        yield CounterMetricFamily("tenantry_looks", "Reads of the changelog.", node.following.looks)
        yield CounterMetricFamily("tenantry_looks_failed", "Those that failed.", node.following.failures)
        yield GaugeMetricFamily("tenantry_requests_under_way", "Requests being answered.", self._under_way())
        duties = GaugeMetricFamily("tenantry_duty_held", "1 while this node holds the duty.", labels=("duty",))
        for work in node.works:
            duties.add_metric((work.name,), work.holds)
        yield duties
        yield GaugeMetricFamily("tenantry_logs_damaged", "Logs found damaged.", len(node.checker.damaged))
        yield CounterMetricFamily("tenantry_log_lines_dropped", "Lines of the server's log.", self._sink.dropped)
