# syntax=docker/dockerfile:1
# Two stages: the first installs what requirements/run.txt locks, by hash; the second takes that along.
# It runs as a user of its own and writes to /var/lib/talkmeter only (journal, embedded database, pepper),
# so the root file system can be read-only: docker run --read-only --tmpfs /tmp -v talkmeter:/var/lib/talkmeter

FROM python:3.13-slim AS build
WORKDIR /app
COPY requirements requirements
# What installed it is left behind. What runs is compiled, here and below: nobody can keep that in a read-only image, so
# each start, health check and `exec` would do it again.
RUN sh requirements/venv.sh run \
    && .venv/bin/python -m pip uninstall --quiet --yes uv pip \
    && python -m compileall -q --invalidation-mode unchecked-hash .venv/lib

FROM python:3.13-slim
# By number, here and below: who runs it (deploy/kubernetes) has to name the same, and can tell that it is not root.
RUN groupadd --system --gid 10001 talkmeter \
    && useradd --system --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin talkmeter \
    && install -d -o talkmeter -g talkmeter -m 0700 /var/lib/talkmeter \
    && python -m compileall -q --invalidation-mode unchecked-hash -x site-packages \
        "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
COPY --from=build /app/.venv /app/.venv
COPY migrations /app/migrations
COPY proxy /app/proxy
# Files come with the rights that they have where the image is built, which may be nobody else's.
RUN chmod -R go+rX /app/migrations /app/proxy \
    && python -m compileall -q --invalidation-mode unchecked-hash /app/migrations /app/proxy
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TALKMETER_LISTEN=0.0.0.0:8080 \
    TALKMETER_ADMIN_LISTEN=0.0.0.0:8081
USER 10001:10001
WORKDIR /var/lib/talkmeter
VOLUME /var/lib/talkmeter
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["python", "-c", "\
import os, ssl, urllib.request; \
tls = os.environ.get('TALKMETER_TLS_CERT'); \
port = os.environ['TALKMETER_LISTEN'].rpartition(':')[2]; \
urllib.request.urlopen(f\"http{'s' if tls else ''}://127.0.0.1:{port}/healthz\", timeout=4, \
context=ssl._create_unverified_context() if tls else None)"]
ENTRYPOINT ["python", "-m", "proxy"]
CMD ["serve"]
