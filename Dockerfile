# One image for every process of atoll; docker-compose.yml says which one a container runs.
FROM python:3.11-slim

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1

# A user without rights, and the folders that volumes are mounted on: an empty volume takes their owner.
RUN useradd --uid 10001 --create-home atoll \
    && for name in water environment market health chemicals housing; do \
           mkdir -p /city/departments/$name /city/silos/$name /city/secrets/$name; \
       done \
    && mkdir -p /city/gateway /city/idp /work \
    && chown -R atoll:atoll /city /work

WORKDIR /src
COPY pyproject.toml README.md ./
COPY catalog catalog
COPY connectors connectors
COPY gateway gateway
COPY atoll atoll
# The five questions become part of the package.
COPY tests/city/questions tests/city/questions
RUN pip install --no-cache-dir uv && uv pip install --system --no-cache --compile-bytecode .

USER atoll
WORKDIR /home/atoll
CMD ["atoll", "--help"]
