# Prometheus from Debian's package, for machines that cannot pull prom/prometheus.
#
#   docker build -f deploy/prometheus.Dockerfile -t compactface/prometheus .
#   PROMETHEUS_IMAGE=compactface/prometheus docker compose -f deploy/compose.centre.yaml ...
ARG BASE_IMAGE=debian:bookworm-slim

FROM ${BASE_IMAGE}
RUN apt-get update \
    && apt-get install --yes --no-install-recommends prometheus \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -o prometheus /prometheus
VOLUME /prometheus
EXPOSE 9090
USER prometheus
ENTRYPOINT ["prometheus"]
