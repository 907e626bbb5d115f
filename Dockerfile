# A bare Debian 12 with this source tree; `docker build -t qdqbert . && docker run --rm -it qdqbert` shows the demo.
FROM debian:12
RUN apt-get update && apt-get install -y --no-install-recommends make ca-certificates && rm -rf /var/lib/apt/lists/*
WORKDIR /qdqbert
COPY . .
RUN make command
CMD ["make", "demo"]
