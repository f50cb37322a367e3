# syntax=docker/dockerfile:1
# Two stages: what is needed to install stays behind, what is needed to serve goes on.

FROM python:3.11-slim-bookworm AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    UV_LINK_MODE=copy

WORKDIR /src
COPY requirements.lock installer.lock pyproject.toml README.md LICENSE ./
# The lock names the development tools too, so here it only constrains: what is installed is what runs, and a package that
# is in the lock must have its version and one of its hashes. `--build-arg TORCH_BACKEND=cpu` takes PyTorch without CUDA,
# some gigabytes less, in the locked version but from PyTorch's own index, for whose files the lock has no hashes.
ARG TORCH_BACKEND=""
# `--build-arg EXTRA=milvus` adds the client of a Milvus server, `EXTRA=s3` and `EXTRA=gcs` what reaches these stores; several with
# commas between them, `EXTRA=s3,milvus`. The packages of s3 and gcs are not in the lock: the newest that fit are taken, without a
# hash to check. Those of s3 want an older python-dateutil than the lock has, so with s3 the lock does not constrain that one.
ARG EXTRA=""
RUN case ",$EXTRA," in *,s3,*) sed -i '/^python-dateutil==/,/^    # via/d' requirements.lock;; esac \
    && python -m venv /opt/imsage \
    && /opt/imsage/bin/pip install --require-hashes --requirement installer.lock \
    && if [ -n "$TORCH_BACKEND" ]; then \
        sed -nE 's/^(torch|torchvision)(==[^ ]+).*/\1\2/p' requirements.lock > torch.txt \
        && VIRTUAL_ENV=/opt/imsage /opt/imsage/bin/uv pip install --no-cache --no-deps \
            --torch-backend="$TORCH_BACKEND" --requirements torch.txt; \
    fi \
    && VIRTUAL_ENV=/opt/imsage /opt/imsage/bin/uv pip install --no-cache \
        ${EXTRA:+--extra="$EXTRA"} \
        --constraint requirements.lock --requirements pyproject.toml
COPY app app
COPY gnn gnn
COPY graph_store graph_store
COPY imsage imsage
RUN VIRTUAL_ENV=/opt/imsage /opt/imsage/bin/uv pip install --no-cache --no-deps --no-build-isolation . \
    && /opt/imsage/bin/uv pip uninstall --python /opt/imsage/bin/python uv
# The ONNX graphs of the default encoders are exported here once, so that no container does it again at its start. That of words is
# for the first text, so there is one.
ENV IMSAGE_CACHE_DIR=/opt/imsage/cache
RUN /opt/imsage/bin/python -c "from gnn.encoders.registry import image_encoder, text_encoder; image_encoder(); text_encoder().encode_text(['a'])"


FROM python:3.11-slim-bookworm

# Everything that is written goes to /data, /tmp or, where snapshots are published to it, /store, so the root file system may be read-only.
ENV PATH=/opt/imsage/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    IMSAGE_CACHE_DIR=/opt/imsage/cache \
    IMSAGE_DATA=/data \
    IMSAGE_HOST=0.0.0.0 \
    IMSAGE_PORT=8000

RUN groupadd --gid 10001 imsage \
    && useradd --uid 10001 --gid imsage --no-create-home --home-dir /tmp --shell /usr/sbin/nologin imsage \
    && install --directory --owner=imsage --group=imsage /data /store

COPY --from=build /opt/imsage /opt/imsage

USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000

HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, sys, http.client as h; c = h.HTTPConnection('127.0.0.1', int(os.environ['IMSAGE_PORT']), timeout=2); c.request('GET', '/readyz'); sys.exit(c.getresponse().status != 200)"]

ENTRYPOINT ["imsage"]
CMD ["serve"]
