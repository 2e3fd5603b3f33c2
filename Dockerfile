# regsweep as an image: docker build --tag regsweep --build-arg REVISION=$(git rev-parse --short HEAD) .
# Any builder will do: nothing here needs BuildKit. tests/image.rs builds and runs it.
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
RUN touch src/main.rs src/lib.rs && cargo build --release --locked --bin regsweep \
    && mkdir -p /state/regsweep && chmod 700 /state/regsweep

# No shell, no package manager: libc, libgcc and certificates.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/regsweep /usr/local/bin/regsweep
COPY --from=build --chown=65532:65532 /state/ /var/lib/
VOLUME /var/lib/regsweep
# By number, so that everybody sees that it is not root.
USER 65532:65532
# The configuration is /etc/regsweep/config.yaml; in a container it needs `listen: 0.0.0.0:9717`.
EXPOSE 9717
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s CMD ["/usr/local/bin/regsweep", "health"]
ENTRYPOINT ["/usr/local/bin/regsweep"]
CMD ["serve"]
