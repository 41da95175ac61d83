//! Which modules to load, and in which order: `modules.dep` says what each one needs.

use anyhow::{Context, Result};

/// The paths of the modules to load for `wanted`, each after those it needs. `dependencies` is the text of
/// `modules.dep`, `built_in` that of `modules.builtin`, whose modules are there already.
pub(super) fn in_loading_order<'a>(dependencies: &'a str, built_in: &str, wanted: &[&str]) -> Result<Vec<&'a str>> {
    let mut ordered = Vec::new();
    for name in wanted {
        if built_in.lines().any(|path| module_name(path) == *name) {
            continue;
        }
        let (path, needs) = dependencies
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(path, _)| module_name(path) == *name)
            .with_context(|| format!("this kernel has no module {name}"))?;
        // What a module needs is listed with the deepest need last.
        for path in needs.split_whitespace().rev().chain([path]) {
            if !ordered.contains(&path) {
                ordered.push(path);
            }
        }
    }
    Ok(ordered)
}

/// `kernel/fs/9p/9p.ko` is the module `9p`.
fn module_name(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPENDENCIES: &str = "\
kernel/drivers/virtio/virtio_ring.ko:
kernel/drivers/virtio/virtio.ko: kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/virtio/virtio_pci.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
kernel/net/9p/9pnet.ko:
kernel/net/9p/9pnet_virtio.ko: kernel/net/9p/9pnet.ko kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
";

    #[test]
    fn what_is_needed_comes_first_and_once() {
        let order = in_loading_order(DEPENDENCIES, "", &["virtio_pci", "9pnet_virtio"]).unwrap();
        let names: Vec<_> = order.into_iter().map(module_name).collect();
        assert_eq!(names, ["virtio_ring", "virtio", "virtio_pci", "9pnet", "9pnet_virtio"]);
    }

    #[test]
    fn what_is_built_in_is_not_loaded() {
        let built_in = "kernel/fs/overlayfs/overlay.ko\n";
        assert!(
            in_loading_order(DEPENDENCIES, built_in, &["overlay"])
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn a_module_that_is_not_there_is_named() {
        let error = in_loading_order(DEPENDENCIES, "", &["overlay"]).unwrap_err();
        assert!(error.to_string().contains("overlay"));
    }
}
