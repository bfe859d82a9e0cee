//! Transcendental instructions against the host.
