# The camera's side: photographs in, compact maps out. There is no torch in it.
#
#   docker build -f deploy/encoder.Dockerfile -t compactface/encoder .
#
# EXTRA=camera makes the image of the camera gateway, which finds faces with the encoder's networks:
#
#   docker build -f deploy/encoder.Dockerfile -t compactface/camera --build-arg EXTRA=camera .
#
# Where pip needs a configuration of its own, lend it to the build; it stays out of the image:
#   --secret id=pip,src=$HOME/.config/pip/pip.conf
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
RUN python3 -m venv /opt/compactface
COPY pyproject.toml requirements.lock ./
ARG EXTRA=encoder
# Dependencies have a layer of their own: they change less often than the source.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=cache,target=/root/.cache/pip \
    python3 -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
        extras = project["optional-dependencies"]; \
        needed = sum((extras[name] for name in {"cli", "services", "encoder", "encryption", "'$EXTRA'"}), project["dependencies"]); \
        print(*(each for each in needed if not each.startswith("compactface[")), sep="\n")' \
        > requirements.txt \
    && /opt/compactface/bin/pip install -c requirements.lock -r requirements.txt
# The wheel would carry the default model; in an image the mounted folder decides.
COPY . .
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=cache,target=/root/.cache/pip \
    mkdir -p deploy/models && /opt/compactface/bin/pip install -c requirements.lock ".[$EXTRA,encryption]"
# What only installs, tests or trains, and a library that programs in C would link.
RUN /opt/compactface/bin/pip uninstall --quiet --yes setuptools pip \
    && cd /opt/compactface/lib/python3*/site-packages \
    && find . -type d -name tests -prune -exec rm -r {} + \
    && rm -rf onnxruntime/transformers onnxruntime/quantization onnxruntime/tools cv2/data \
        onnxruntime/capi/libonnxruntime.so.* \
    && find . -type d -name __pycache__ -prune -exec rm -r {} +
# A container cannot write bytecode, and that of all packages is 55 MB: only that of what runs.
RUN /opt/compactface/bin/python -I -c "import command_line.main, encoder_service.server" \
    && if [ "$EXTRA" = camera ]; then /opt/compactface/bin/python -I -c "import camera_gateway.gateway"; fi

FROM ${BASE_IMAGE}
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin compactface \
    && install -d -m 700 -o compactface -g compactface /var/lib/compactface/spool
COPY --from=build /opt/compactface /opt/compactface
COPY deploy/healthcheck.py /opt/compactface/healthcheck.py
# ONNX Runtime reports on its sessions to its makers unless told not to: a camera's host tells nobody.
# The bind is refused until mutual TLS is set up, or COMPACTFACE_ENCODER_INSECURE says why not.
ENV PATH=/opt/compactface/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1 \
    COMPACTFACE_ENCODER_HOST=0.0.0.0 \
    COMPACTFACE_ENCODER_METRICS_HOST=0.0.0.0 \
    COMPACTFACE_ENCODER_MODELS=/var/lib/compactface/models \
    COMPACTFACE_ENCODER_UPLINK_SPOOL=/var/lib/compactface/spool
VOLUME /var/lib/compactface/spool
EXPOSE 50051 9464
USER compactface
ENTRYPOINT ["compactface"]
CMD ["serve", "encoder"]
