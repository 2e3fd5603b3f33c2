# regsweep as an image: docker build --tag regsweep --build-arg REVISION=$(git rev-parse --short HEAD) .
FROM rust:1-bookworm AS build
WORKDIR /src
# Dependencies change less often than our own code, and take longer.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src && echo 'fn main() {}' > src/main.rs && touch src/lib.rs \
    && cargo build --release --locked --bin regsweep && rm -r src
COPY src src
ARG REVISION=
ENV REGSWEEP_REVISION=$REVISION
# The files just copied can be older than what was built of the placeholders.
RUN touch src/main.rs src/lib.rs && cargo build --release --locked --bin regsweep && mkdir /state

# No shell, no package manager: libc, libgcc and certificates. Its user is 65532.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/regsweep /usr/local/bin/regsweep
COPY --from=build --chown=65532:65532 --chmod=700 /state /var/lib/regsweep
VOLUME /var/lib/regsweep
# The configuration is /etc/regsweep/config.yaml; in a container it needs `listen: 0.0.0.0:9717`.
EXPOSE 9717
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s CMD ["/usr/local/bin/regsweep", "health"]
ENTRYPOINT ["/usr/local/bin/regsweep"]
CMD ["serve"]
