# syntax=docker/dockerfile:1

FROM rust:1.95-trixie AS build
WORKDIR /src
# The dependencies are built on an empty program first, so that a change of ours does not build them again.
COPY Cargo.toml Cargo.lock build.rs ./
COPY proto proto
COPY bench/load bench/load
COPY benches benches
RUN mkdir -p src tests/e2e tests/conformance \
    && touch src/lib.rs tests/e2e/main.rs tests/conformance/main.rs \
    && echo 'fn main() {}' > src/main.rs \
    && cargo build --release --locked --bin grpc-rest-bridge
COPY src src
# Newer than what was built from the empty program.
RUN touch src/lib.rs src/main.rs \
    && cargo build --release --locked --bin grpc-rest-bridge

FROM gcr.io/distroless/cc-debian13:nonroot
COPY --from=build /src/target/release/grpc-rest-bridge /usr/local/bin/grpc-rest-bridge
# There is no shell in here: probe grpc.health.v1 on this port, "liveness" for the process, "" for readiness.
EXPOSE 50051
USER nonroot
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/grpc-rest-bridge"]
CMD ["serve"]
