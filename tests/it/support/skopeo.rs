//! Pulls images the way other people's tools do, with skopeo.
//!
//! A manifest that a registry still answers for may be hollow: only a pull of everything below it
//! proves that an image survived.

use std::process::{Command, Output};

/// Copies an image with all its children and their layers out of the registry, and panics if any of
/// it is missing. The reference is `host:port/repository:tag` or `host:port/repository@digest`.
pub fn skopeo_pull_all(image: &str) {
    let output = pull(image);
    assert!(output.status.success(), "{image} is not whole: {}", String::from_utf8_lossy(&output.stderr));
}

/// Whether the image and everything below it can be pulled.
pub fn skopeo_can_pull(image: &str) -> bool {
    pull(image).status.success()
}

/// The manifest that skopeo is given for an image, byte for byte.
pub fn skopeo_inspect_raw(image: &str) -> Vec<u8> {
    let source = format!("docker://{image}");
    let output = skopeo(&["inspect", "--raw", "--tls-verify=false", "--no-creds", &source]);
    assert!(output.status.success(), "{image}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn pull(image: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let source = format!("docker://{image}");
    let target = format!("dir:{}", folder.path().display());
    let copy = ["copy", "--quiet", "--all", "--src-tls-verify=false", "--src-no-creds"];
    skopeo(&[&copy[..], &[&source, &target]].concat())
}

fn skopeo(arguments: &[&str]) -> Output {
    let command = Command::new("skopeo").arg("--insecure-policy").args(arguments).output();
    command.unwrap_or_else(|error| panic!("skopeo: {error}; `make check` installs it"))
}
