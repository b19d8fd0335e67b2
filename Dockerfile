# Two stages: wheels are built apart, the image that runs has no compiler and no root.
FROM python:3.11.10-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY mappings mappings
COPY inference inference
COPY interop interop
COPY workers workers
# EXTRA is cpu or gpu; the two exclude each other (docs/decisions/0003-extras.md).
ARG EXTRA=cpu
RUN python -m venv /opt/oncord \
 && /opt/oncord/bin/pip install --no-cache-dir -c constraints.txt ".[${EXTRA}]"

FROM python:3.11.10-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /var/lib/oncord --create-home oncord \
 && install -d -o oncord -g oncord -m 0700 /var/lib/oncord/data
COPY --from=build /opt/oncord /opt/oncord
ENV PATH=/opt/oncord/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    ONCORD_DATA_DIR=/var/lib/oncord/data \
    ONCORD_LOG_FORMAT=json
USER oncord
WORKDIR /var/lib/oncord
EXPOSE 8080 2575
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
ENTRYPOINT ["oncord"]
CMD ["serve"]
