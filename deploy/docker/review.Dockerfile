# The review console, which needs neither Spark nor a GPU. Checked by hadolint; not built by our tests.
#   make dist && docker build -f deploy/docker/review.Dockerfile -t registry.example.org/safeguard-review:0.2.0 .
FROM python:3.12-slim
COPY requirements/dev.lock dist/safeguard_spark-0.2.0-py3-none-any.whl /tmp/
RUN python -m venv /opt/venv \
  && sed '/^ *--hash/d; s/ \\$//' /tmp/dev.lock > /tmp/constraints.txt \
  && /opt/venv/bin/pip install --no-cache-dir --constraint /tmp/constraints.txt \
    "/tmp/safeguard_spark-0.2.0-py3-none-any.whl[review]" \
  && useradd --uid 185 --gid 0 console
COPY policies /opt/safeguard/policies
ENV PATH=/opt/venv/bin:$PATH \
  SAFEGUARD_POLICIES=/opt/safeguard/policies \
  SAFEGUARD_LOG_FORMAT=json
WORKDIR /var/lib/safeguard-spark
USER 185
