# The kit with its environment; not built by us yet (no engine was at hand).
#   docker build -t sfllava . && docker run --rm sfllava            # make run
#   docker run --rm -p 127.0.0.1:8888:8888 sfllava make lab LAB="--ip 0.0.0.0 --allow-root"
FROM python:3.11-slim

RUN apt-get update \
    && apt-get install --yes --no-install-recommends make chromium fonts-dejavu-core \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /kit
COPY . .
RUN make doctor
CMD ["make", "run"]
