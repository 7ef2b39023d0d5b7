# The image by a container engine: docker build --tag registry.example.com/certwright:0.1.0 .
# `make image` makes the same without one, and reproducibly.
# An image with Rust, a C compiler and apt-get.
ARG BUILDER=docker.io/library/rust:1.95-bookworm
FROM ${BUILDER} AS build
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates cmake
WORKDIR /source
COPY . .
# The target of Rust that the image is for; another architecture needs a C compiler for it in this stage.
ARG TARGET=x86_64-unknown-linux-gnu
# Such as otlp, for traces.
ARG FEATURES=
RUN cargo build --locked --release --package certwright --target "$TARGET" --features "$FEATURES" \
    && mkdir -p /image/etc/ssl/certs /image/tmp && chmod 1777 /image/tmp \
    && cp "target/$TARGET/release/certwright" /image/certwright \
    && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
    && printf '%s\n' root:x:0:0:root:/:/bin/sh nonroot:x:65532:65532:nonroot:/tmp:/bin/sh >/image/etc/passwd

FROM scratch
COPY --from=build /image /
USER 65532:65532
ENTRYPOINT ["/certwright"]
