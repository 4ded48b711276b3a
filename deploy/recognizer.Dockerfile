# The data centre's side: compact maps in, identities out.
#
#   docker build -f deploy/recognizer.Dockerfile -t compactface/recognizer .
#   docker build -f deploy/recognizer.Dockerfile -t compactface/recognizer:cuda \
#       --build-arg DEVICE=cuda .
#
# DEVICE is where the image runs its networks: cpu (default), or cuda, for which the build fails
# unless the torch it got is a CUDA build. That build brings the CUDA libraries along; the host
# needs NVIDIA's driver and container toolkit.
#
# TORCH_INDEX is the address of a package index to search besides pip's own. What pip's own offers
# as torch for x86-64 Linux may be the CUDA build, which runs on the CPU, too, but is gigabytes
# larger: name the index of CPU builds (see "Get Started" at pytorch.org) for a small image.
#
# Where pip needs a configuration of its own, lend it to the build; it stays out of the image:
#   --secret id=pip,src=$HOME/.config/pip/pip.conf
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
RUN python3 -m venv /opt/compactface
COPY pyproject.toml requirements.lock ./
ARG DEVICE=cpu
ARG TORCH_INDEX=
# Dependencies have a layer of their own: they change less often than the source.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=cache,target=/root/.cache/pip \
    python3 -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
        extras = project["optional-dependencies"]; \
        needed = sum((extras[name] for name in ("cli", "services", "recognizer", "encryption")), project["dependencies"]); \
        print(*(each for each in needed if not each.startswith("compactface[")), sep="\n")' \
        > requirements.txt \
    && /opt/compactface/bin/pip install ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} \
        -c requirements.lock -r requirements.txt
RUN test "$DEVICE" = cpu || /opt/compactface/bin/python -c \
    'import torch; assert torch.version.cuda, f"torch {torch.__version__} is no CUDA build"'
# The wheel would carry the default model; in an image the mounted folder decides.
COPY . .
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=cache,target=/root/.cache/pip \
    mkdir -p deploy/models && /opt/compactface/bin/pip install -c requirements.lock '.[recognizer,encryption]'

FROM ${BASE_IMAGE}
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin compactface \
    && install -d -o compactface /var/lib/compactface/gallery
COPY --from=build /opt/compactface /opt/compactface
COPY deploy/healthcheck.py /opt/compactface/healthcheck.py
ARG DEVICE=cpu
# The bind is refused until mutual TLS is set up, or COMPACTFACE_RECOGNIZER_INSECURE says why not.
# In huge pages, a pass over the gallery's vectors is a tenth faster.
ENV PATH=/opt/compactface/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    GLIBC_TUNABLES=glibc.malloc.hugetlb=1 \
    COMPACTFACE_RECOGNIZER_HOST=0.0.0.0 \
    COMPACTFACE_RECOGNIZER_METRICS_HOST=0.0.0.0 \
    COMPACTFACE_RECOGNIZER_DEVICE=${DEVICE} \
    COMPACTFACE_RECOGNIZER_MODELS=/var/lib/compactface/models \
    COMPACTFACE_RECOGNIZER_GALLERY=/var/lib/compactface/gallery/gallery.sqlite
VOLUME /var/lib/compactface/gallery
EXPOSE 50052 9465
USER compactface
ENTRYPOINT ["compactface"]
CMD ["serve", "recognizer"]
