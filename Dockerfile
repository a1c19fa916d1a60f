# pdlm in a container: no network at run time, not root, the root file system may be read-only.
#
#   docker build -t pdlm .
#   docker run --rm --network none --user "$(id -u):$(id -g)" -v "$PWD:/data" pdlm \
#       caption --input masks.json --images . --output out
#
# Build arguments:
#   BASE_IMAGE   a Debian-like image with python 3.11 or newer
#   VARIANT      cpu (default) or cuda; the driver comes from the host, everything else of CUDA with torch's wheels
#   TORCH_INDEX  where pip also looks for torch: the index that PyTorch's install page names for CPU or a CUDA version.
#                Without it pip takes torch's default build, which on x86-64 Linux carries CUDA: VARIANT=cpu then works
#                but is several GB larger than it need be, and the build says so.
#   REVISION     recorded in the image's labels
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
ARG VARIANT=cpu
ARG TORCH_INDEX=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src

# The dependencies are a layer of their own: a change of the code installs nothing but pdlm itself.
COPY pyproject.toml constraints.txt ./
RUN python -m venv /opt/pdlm \
    && python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" > dependencies.txt \
    && /opt/pdlm/bin/pip install -c constraints.txt ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -r dependencies.txt \
    && case "$VARIANT,$(/opt/pdlm/bin/python -c 'import torch; print(torch.version.cuda or "none")')" in \
        cpu,none) ;; \
        cpu,*) echo "note: torch with CUDA was installed; TORCH_INDEX with PyTorch's CPU index makes a smaller image" ;; \
        cuda,none) echo "VARIANT=cuda, but pip found torch without CUDA: give TORCH_INDEX the index of a CUDA version" >&2; exit 1 ;; \
        cuda,*) ;; \
        *) echo "VARIANT is cpu or cuda, not '$VARIANT'" >&2; exit 1 ;; \
    esac

COPY LICENSE README.md ./
COPY model model
COPY pdlm_cli pdlm_cli
RUN /opt/pdlm/bin/pip install --no-deps .


FROM ${BASE_IMAGE}
ARG VARIANT=cpu
ARG REVISION=""
LABEL org.opencontainers.image.title="pdlm" \
      org.opencontainers.image.description="Captions for every masked region of a picture, with PerceptionDLM (${VARIANT})" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}"

# /data: pictures and results. /models: checkpoints, and the hub's cache for those who fetch by id.
# Both belong to the numeric user, whom Kubernetes can check to be no root.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin pdlm \
    && install --directory --owner=10001 --group=10001 /data /models
COPY --from=build /opt/pdlm /opt/pdlm

# HF_HUB_OFFLINE: no network at run time; HF_HUB_OFFLINE=0 allows a model to be named by its hub id.
# HOME and USER: caches go to the one place that is always writable, also under a --user without an account.
# NVIDIA_*: what NVIDIA's container runtime hands in; without it they mean nothing.
ENV PATH="/opt/pdlm/bin:${PATH}" \
    HF_HOME=/models/huggingface \
    HF_HUB_OFFLINE=1 \
    HOME=/tmp \
    USER=pdlm \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

VOLUME ["/models"]
WORKDIR /data
USER 10001:10001
STOPSIGNAL SIGTERM
ENTRYPOINT ["pdlm"]
CMD ["--help"]
