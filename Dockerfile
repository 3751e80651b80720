# The server's image. `docker build .` makes it for the CPU; hack/image.sh does the same, with
# buildah where it is, and hands pip's index settings on this machine to the build.
#
#   BASE_IMAGE   Python >= 3.11 on glibc. Both stages stand on it: the virtual environment needs its
#                interpreter at the same place in both.
#   VARIANT      cpu, or gpu: ONNX Runtime with CUDA, whose libraries come as wheels, so that the
#                node needs only the driver.
#   EXTRAS       more of the package's extras, separated by commas: redis, otel, storage (models from S3,
#                GCS, Azure), hub.
#
# What is in it: /opt/predictor/sbom.cdx.json (CycloneDX).

ARG BASE_IMAGE=docker.io/library/python:3.12-slim-bookworm

FROM ${BASE_IMAGE} AS build
ARG VARIANT=cpu
ARG EXTRAS=""
RUN python3 -m venv --without-pip /opt/predictor

# Dependencies first, with an empty package in our place: they are a layer of their own, made anew
# only when pyproject.toml or the versions change. Out of them goes what is declared and no server
# imports (hack/image/installed.py says what and why; a third of it all), files that are not served,
# the libraries' own tests and programs. Bytecode is never checked against its source: builders
# rewrite times, and nothing in an image changes.
WORKDIR /dependencies
COPY pyproject.toml LICENSE hack/constraints.txt ./
COPY hack/image/installed.py hack/image/prune.py ./hack/image/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    touch README.md && mkdir predictor && echo '__version__ = "0"' >predictor/__init__.py && \
    extras="${VARIANT}${EXTRAS:+,${EXTRAS}}" && \
    python3 -m pip --python /opt/predictor/bin/python install \
      --no-cache-dir --no-compile --only-binary :all: \
      --constraint constraints.txt ".[${extras}]" && \
    /opt/predictor/bin/python -m hack.image.prune distributions \
      "${extras}" /opt/predictor/lib/python3*/site-packages >unneeded && \
    python3 -m pip --python /opt/predictor/bin/python uninstall --yes \
      --requirement unneeded predictor && \
    /opt/predictor/bin/python -m hack.image.prune files \
      /opt/predictor/lib/python3*/site-packages >unneeded && \
    xargs rm <unneeded && \
    find /opt/predictor/bin -type f -delete && \
    find /opt/predictor/lib -type d \
      \( -name tests -o -path '*/onnx/backend/test' -o -path '*/site-packages/kubernetes/aio' \) \
      -prune -exec rm -rf {} + && \
    /opt/predictor/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
      /opt/predictor/lib

# Then the package, in a tree of its own that is laid over the first: a small layer. With it the
# bill of materials, of both trees and the base.
WORKDIR /src
COPY pyproject.toml LICENSE README.md ./
COPY predictor ./predictor
COPY hack/image ./hack/image
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m pip --python /opt/predictor/bin/python install \
      --no-cache-dir --no-compile --no-deps --prefix /opt/package . && \
    /opt/predictor/bin/python -m compileall -q --invalidation-mode unchecked-hash \
      /opt/package/lib && \
    /opt/predictor/bin/python -m hack.image.sbom "${VARIANT}${EXTRAS:+,${EXTRAS}}" \
      /opt/predictor/lib/python3*/site-packages /opt/package/lib/python3*/site-packages \
      >/opt/package/sbom.cdx.json


FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="predictor" \
      org.opencontainers.image.description="Embedding server for Kubernetes: a KServe custom predictor on ONNX Runtime" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"

# The base's installer: of no use to a server, and a finding for every scanner.
RUN rm -rf /usr/bin/pip* /usr/lib/python3/dist-packages/pip* /usr/lib/python3*/ensurepip \
      /usr/share/python-wheels /usr/local/bin/pip* /usr/local/lib/python3*/site-packages/pip* \
      /usr/local/lib/python3*/ensurepip

COPY --from=build /opt/predictor /opt/predictor
COPY --from=build /opt/package /opt/predictor

# Two arenas: glibc's default of eight a core keeps memory that idle threads once used.
ENV PATH=/opt/predictor/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1 \
    MALLOC_ARENA_MAX=2

# Any uid will do, and a read-only root: the server writes only under --cache-dir, which is in /tmp
# unless it is told otherwise. 65532 is the uid that distroless images call nonroot.
USER 65532:65532
EXPOSE 8080 8081
ENTRYPOINT ["predictor"]
CMD ["serve"]
