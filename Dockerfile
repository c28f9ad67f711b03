# syntax=docker/dockerfile:1
# weightcut on a CPU: the command line, the router's server and the dashboard.
#
#   docker build --build-arg PIP_EXTRA_INDEX_URL=URL -t weightcut .
#
# URL: an index with PyTorch's builds for CPUs (pytorch.org names it); not needed where your own
# index has them. The build stops where it finds a CUDA build, which would make the image 5 GB larger.
ARG PYTHON=3.11.15

FROM python:${PYTHON}-bookworm AS build
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/weightcut
ENV PATH=/opt/weightcut/bin:$PATH
WORKDIR /src
COPY constraints.txt ./
# The largest layer by far, kept while the code changes.
RUN pip install -c constraints.txt torch \
 && python -c "import sys, torch; torch.version.cuda and sys.exit('a CUDA build of torch: give --build-arg PIP_EXTRA_INDEX_URL with the index of the builds for CPUs')"
COPY pyproject.toml setup.py README.md LICENSE ./
COPY src ./src
RUN pip install -c constraints.txt ".[compress,dashboard,serve]" \
 && pip check

FROM python:${PYTHON}-slim-bookworm
LABEL org.opencontainers.image.title="weightcut" \
      org.opencontainers.image.description="Compress a code LLM, measure what that costs, and route queries" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="0.1.0"
RUN groupadd --gid 10001 weightcut \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /work weightcut \
 && install -d -o weightcut -g weightcut /work /cache
COPY --from=build /opt/weightcut /opt/weightcut
# HOME: libraries that insist on a place to write find one under a read-only root, too.
ENV PATH=/opt/weightcut/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    WEIGHTCUT_HOME=/cache
USER 10001:10001
WORKDIR /work
VOLUME ["/work", "/cache"]
EXPOSE 8080
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/readyz', timeout=4)"]
ENTRYPOINT ["weightcut"]
CMD ["serve", "my-router", "--host", "0.0.0.0", "--keys", "/run/secrets/weightcut-keys"]
