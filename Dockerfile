# One image for a kind of accelerator: docker build --target cpu|cuda|rocm .
# setup/build_submission_env.sh chooses target and base image by what the host has.
#
# Build arguments
#   BASE_IMAGE        Debian or Ubuntu with Python 3.11 to 3.14; for rocm one whose Python holds vLLM for ROCm
#   ONLY              build this target alone: the classic builder walks through every target above the asked one
#   PIP_*             pip's settings for index, certificates and wheel folders (they stay in the image's history: put
#                     no password in them)
ARG BASE_IMAGE=python:3.12.12-slim-bookworm

FROM ${BASE_IMAGE} AS system
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# A compiler and Python's headers: torch.compile and Triton build kernels at start. git: a run names its commit.
# Debian keeps one version of a package, so a pin here would break with the next security update.
# hadolint ignore=DL3008
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        ca-certificates g++ git libnuma1 procps \
    && rm -rf /var/lib/apt/lists/*
# Home and working folders are open to all: the start scripts run the container as the host's user, whose id the image
# cannot know. 10001 stands in where that user is root. For the same reason anybody may install further packages.
RUN useradd --uid 10001 --create-home --home-dir /home/lab --shell /bin/bash lab \
    && chmod 1777 /home/lab \
    && install -d -m 1777 /model /data /lab-mlperf-inference/results /lab-mlperf-inference/documentation \
    && install -d /opt/venv \
    && git config --system --add safe.directory /lab-mlperf-inference
WORKDIR /lab-mlperf-inference
ENV HOME=/home/lab \
    HARNESS_VENV=/opt/venv \
    LAB_DATASET=/data \
    LAB_MODEL=/model \
    LAB_SUBMISSION=/lab-mlperf-inference/results/submission \
    LOGNAME=lab \
    PATH=/opt/venv/bin:$PATH \
    USER=lab \
    VIRTUAL_ENV=/opt/venv
# Starts no Python: a health check must not take time from a measurement.
HEALTHCHECK --interval=5m --timeout=10s --start-period=1m \
    CMD ["bash", "-c", "[[ -x /opt/venv/bin/harness-llm && -d /model && -d /data && -w /lab-mlperf-inference/results ]]"]
ENTRYPOINT []
CMD ["bash"]
# What the environment depends on, and nothing else, so that a change of the source does not install it again.
COPY setup/environment.sh setup/host.sh setup/
COPY requirements/ requirements/

FROM system AS cpu
ENV HARNESS_PLATFORM=cpu
ARG ONLY
ARG PIP_CERT
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
ARG PIP_INDEX_URL
ARG PIP_TRUSTED_HOST
# hadolint ignore=SC1091
RUN [ "${ONLY:-cpu}" = cpu ] || exit 0; \
    export PIP_NO_CACHE_DIR=1; . setup/environment.sh && prepare_environment && chmod -R a+rwX "$HARNESS_VENV"
COPY . .
USER 10001

FROM system AS cuda
ENV HARNESS_PLATFORM=cuda
ARG ONLY
ARG PIP_CERT
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
ARG PIP_INDEX_URL
ARG PIP_TRUSTED_HOST
# hadolint ignore=SC1091
RUN [ "${ONLY:-cuda}" = cuda ] || exit 0; \
    export PIP_NO_CACHE_DIR=1; . setup/environment.sh && prepare_environment && chmod -R a+rwX "$HARNESS_VENV"
COPY . .
USER 10001

FROM system AS rocm
ENV HARNESS_PLATFORM=rocm
ARG ONLY
ARG PIP_CERT
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
ARG PIP_INDEX_URL
ARG PIP_TRUSTED_HOST
# hadolint ignore=SC1091
RUN [ "${ONLY:-rocm}" = rocm ] || exit 0; \
    export PIP_NO_CACHE_DIR=1; . setup/environment.sh && prepare_environment && chmod -R a+rwX "$HARNESS_VENV"
COPY . .
USER 10001
