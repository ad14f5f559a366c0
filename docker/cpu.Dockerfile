# The service on CPUs, without torch: about what it runs, and nothing to build with.
#   docker build -f docker/cpu.Dockerfile -t surgiclear .
#   docker run --read-only --tmpfs /tmp -p 127.0.0.1:8000:8000 surgiclear
# BASE: any image with Python 3.11 or newer as python3, with venv.
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
# for a build without a network: a folder of wheels that is mounted, and 1
ARG PIP_FIND_LINKS=
ARG PIP_NO_INDEX=0
WORKDIR /src
COPY pyproject.toml README.md LICENSE surgiclear.py ./
COPY models models
COPY engines engines
COPY server server
COPY trainer trainer
COPY clients clients
COPY docker/surgiclear.toml docker/surgiclear.toml
# pip and what packages bring for their own tests are of no use in there
RUN python3 -m venv /opt/surgiclear \
 && /opt/surgiclear/bin/python -m pip install --no-cache-dir --no-compile '.[cpu]' \
 && /opt/surgiclear/bin/python -m pip uninstall --yes pip setuptools \
 && find /opt/surgiclear -depth -type d -name tests -path '*/site-packages/*' -exec rm -r {} + \
 && /opt/surgiclear/bin/python -m compileall -q /opt/surgiclear/lib
# the machine code of the repair, made once; a machine with another processor makes its own
ENV NUMBA_CACHE_DIR=/opt/surgiclear/kernels
RUN /opt/surgiclear/bin/surgiclear phantom /tmp/warm.mkv --size 320x180 --seconds 1 \
 && /opt/surgiclear/bin/surgiclear restore /tmp/warm.mkv /tmp/warmed.mkv \
 && rm /tmp/warm.mkv /tmp/warmed.mkv
COPY --chmod=755 docker/start.sh /opt/surgiclear/bin/start

FROM ${BASE}
COPY --from=build /opt/surgiclear /opt/surgiclear
# kernels are looked up where they may be written: start copies them there
ENV PATH=/opt/surgiclear/bin:$PATH \
    NUMBA_CACHE_DIR=/tmp/surgiclear/kernels \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SURGICLEAR_SERVER__HOST=0.0.0.0
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
# 503 as long as an engine is down: an alarm, no reason to restart (the raw picture goes on)
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
  CMD ["python3", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["start"]
CMD ["serve"]
