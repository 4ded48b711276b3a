# The web gateway: REST and the console. There are no networks in it.
#
#   docker build -f deploy/web.Dockerfile -t compactface/web .
#
# Where pip needs a configuration of its own, lend it to the build; it stays out of the image:
#   --secret id=pip,src=$HOME/.config/pip/pip.conf
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
RUN python3 -m venv /opt/compactface
COPY pyproject.toml requirements.lock ./
# Dependencies have a layer of their own: they change less often than the source.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=cache,target=/root/.cache/pip \
    python3 -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
        extras = project["optional-dependencies"]; \
        needed = sum((extras[name] for name in ("cli", "services", "web")), project["dependencies"]); \
        print(*(each for each in needed if not each.startswith("compactface[")), sep="\n")' \
        > requirements.txt \
    && /opt/compactface/bin/pip install -c requirements.lock -r requirements.txt
# The wheel would carry the default model; in an image the mounted folder decides.
COPY . .
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=cache,target=/root/.cache/pip \
    mkdir -p deploy/models && /opt/compactface/bin/pip install -c requirements.lock '.[web]'
# What only installs, tests or trains.
RUN /opt/compactface/bin/pip uninstall --quiet --yes setuptools pip \
    && cd /opt/compactface/lib/python3*/site-packages \
    && find . -type d -name tests -prune -exec rm -r {} +

FROM ${BASE_IMAGE}
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin compactface
COPY --from=build /opt/compactface /opt/compactface
COPY deploy/healthcheck.py /opt/compactface/healthcheck.py
# The bind is refused until a certificate is set, or COMPACTFACE_WEB_INSECURE says why not.
ENV PATH=/opt/compactface/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    COMPACTFACE_WEB_HOST=0.0.0.0 \
    COMPACTFACE_WEB_METRICS_HOST=0.0.0.0
EXPOSE 8080 9466
USER compactface
ENTRYPOINT ["compactface"]
CMD ["serve", "web"]
