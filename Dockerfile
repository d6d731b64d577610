# Tidegate in an image of its own: built here, run as a user without rights.

FROM rust:1-slim-bookworm AS build
# cmake and clang build aws-lc, the cryptography under rustls.
RUN apt-get update \
    && apt-get install -y --no-install-recommends clang cmake make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin tidegate \
    && cp target/release/tidegate /usr/local/bin/tidegate

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin tidegate
COPY --from=build /usr/local/bin/tidegate /usr/local/bin/tidegate
USER tidegate
# MySQL clients; HTTP with /healthz, /readyz and /metrics.
EXPOSE 4406 4408
# Fits rules that serve HTTP on port 4408 (`admin: {http: …}`).
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s CMD ["tidegate", "health", "--http", "127.0.0.1:4408"]
ENTRYPOINT ["tidegate"]
CMD ["run", "--config", "/etc/tidegate/rules.yaml"]
