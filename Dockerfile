# regsweep as an image: docker build --tag regsweep --build-arg REVISION=$(git rev-parse --short HEAD) .
# It does not need BuildKit. tests/it/packaging/image.rs builds and runs it.
FROM rust:1-bookworm AS build
WORKDIR /src
# Build the dependencies in a layer of their own, because they change less often than the code and take longer.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src && echo 'fn main() {}' > src/main.rs && touch src/lib.rs \
    && cargo build --release --locked --bin regsweep && rm -r src
COPY src src
ARG REVISION=
ENV REGSWEEP_REVISION=$REVISION
# `touch`, because the copied files can be older than the build of the placeholders above.
RUN touch src/main.rs src/lib.rs && cargo build --release --locked --bin regsweep \
    && mkdir -p /state/regsweep && chmod 700 /state/regsweep

# Only libc, libgcc and CA certificates; no shell and no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/regsweep /usr/local/bin/regsweep
COPY --from=build --chown=65532:65532 /state/ /var/lib/
VOLUME /var/lib/regsweep
# A numeric user, so that Kubernetes can verify `runAsNonRoot`.
USER 65532:65532
# Mount the configuration as /etc/regsweep/config.yaml. In a container it needs `listen: 0.0.0.0:9717`.
EXPOSE 9717
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s CMD ["/usr/local/bin/regsweep", "health"]
ENTRYPOINT ["/usr/local/bin/regsweep"]
CMD ["serve"]
