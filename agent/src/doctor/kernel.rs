//! What this kernel can do, and what takes the place of what it cannot.

use super::Finding;
use crate::kernel::inspect::Features;
use crate::kernel::{Hook, KernelError};

/// CAP_BPF, and arrays that can be mapped into memory (5.5).
const OLDEST: (u8, u8) = (5, 8);
/// The oldest kernel that the programs are tested on.
const OLDEST_TESTED: (u8, u8) = (6, 1);
/// A namespace's cookie can be asked for.
const NAMESPACE_COOKIE: (u8, u8) = (5, 14);
/// An iterator may switch on a socket's callbacks.
const ADOPTION: (u8, u8) = (6, 12);

pub(super) fn check(features: &Features) -> Vec<Finding> {
    vec![version(features), hook(features), btf(features), adoption(features)]
}

fn version(features: &Features) -> Finding {
    let name = "kernel";
    let release = &features.release;
    match features.version {
        Some(version) if version < OLDEST => Finding::error(
            name,
            format!("Linux {release} is too old for the programs"),
            "use Linux 5.8 or later, best 6.6 or later",
        ),
        Some(version) if version < NAMESPACE_COOKIE => Finding::warning(
            name,
            format!(
                "Linux {release}: not tested; it has no cookies for network namespaces, which are told apart by inode \
                 instead"
            ),
            "use Linux 6.1 or later",
        ),
        Some(version) if version < OLDEST_TESTED => Finding::warning(
            name,
            format!("Linux {release}: the programs are not tested on a kernel as old as this"),
            "use Linux 6.1 or later",
        ),
        Some(_) => Finding::ok(name, format!("Linux {release}")),
        None => Finding::warning(
            name,
            format!("the version of Linux {release} cannot be told; it is taken for an old one"),
            "set `capture.hook` if clsact is not wanted",
        ),
    }
}

fn hook(features: &Features) -> Finding {
    match &features.hook {
        Ok(Hook::Tcx) => Finding::ok(
            "hook",
            "TCX: links that outlive the agent, first at ingress and last at egress",
        ),
        Ok(Hook::Xdp) => Finding::ok(
            "hook",
            "XDP in the drivers for what is received, TCX for what is sent and where there is no driver",
        ),
        Ok(Hook::Clsact) if features.version.is_some_and(|version| version >= (6, 6)) => {
            Finding::ok("hook", "clsact, as configured; TCX is there too")
        }
        Ok(Hook::Clsact) => Finding::warning(
            "hook",
            "no TCX in this kernel (it came with 6.6): filters on the clsact qdisc are used instead, and count the same",
            "nothing needs to be done; `tc filter` by somebody else with a lower priority can run ahead of them",
        ),
        Err(why) => Finding::error("hook", why.clone(), "set `capture.hook = \"auto\"`"),
    }
}

fn btf(features: &Features) -> Finding {
    if features.has_btf {
        return Finding::ok("btf", "the kernel describes its types");
    }
    Finding::warning(
        "btf",
        "no /sys/kernel/btf/vmlinux: counting needs none, but connections older than the programs are then taken from \
         the socket tables",
        "use a kernel with CONFIG_DEBUG_INFO_BTF for exact connections from the first moment",
    )
}

fn adoption(features: &Features) -> Finding {
    let name = "adoption";
    if features.has_btf && features.version.is_some_and(|version| version >= ADOPTION) {
        return Finding::ok(name, "connections older than the programs can be taken over");
    }
    Finding::warning(
        name,
        "connections older than the programs cannot be taken over (that takes about Linux 6.12 and BTF): active ones \
         come from the socket tables instead",
        "nothing needs to be done; opened connections are counted from the first start on",
    )
}

/// Whether the kernel takes the programs: they were loaded for a moment.
pub(super) fn check_loading<T>(loaded: &Result<T, KernelError>) -> Finding {
    match loaded {
        Ok(_) => Finding::ok("loading", "this kernel takes the programs"),
        Err(error) => Finding::error(
            "loading",
            error.to_string(),
            "run as root or with the agent's capabilities; if it was, this kernel is not supported: use Linux 6.1 or later",
        ),
    }
}

/// Whether a key that is cut off loses the connections it has.
pub(super) fn check_cutting_off(is_supported: &std::io::Result<bool>) -> Finding {
    let name = "cutting off";
    match is_supported {
        Ok(true) => Finding::ok(name, "connections of a key that is cut off can be ended at once"),
        Ok(false) => Finding::warning(
            name,
            "this kernel cannot end connections (it was built without CONFIG_INET_DIAG_DESTROY): those of a key that is \
             cut off are blocked instead, until their ends give up",
            "nothing needs to be done; with CONFIG_INET_DIAG_DESTROY clients are told at once",
        ),
        Err(error) => Finding::warning(
            name,
            format!("whether connections can be ended cannot be told: {error}"),
            "see that the kernel offers CONFIG_INET_TCP_DIAG (`modprobe tcp_diag`)",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    fn levels(version: Option<(u8, u8)>, has_btf: bool, hook: Result<Hook, String>) -> Vec<Level> {
        let features = Features {
            release: "x".to_owned(),
            version,
            has_btf,
            hook,
        };
        check(&features).into_iter().map(|finding| finding.level).collect()
    }

    #[test]
    fn programs_that_are_refused_are_an_error() {
        assert_eq!(check_loading(&Ok(())).level, Level::Ok);
        assert_eq!(
            check_loading::<()>(&Err(KernelError::Load("no".into()))).level,
            Level::Error
        );
    }

    #[test]
    fn keys_that_cannot_be_cut_off_are_worth_knowing() {
        let unknown = Err(std::io::Error::from(std::io::ErrorKind::NotFound));
        assert_eq!(check_cutting_off(&Ok(true)).level, Level::Ok);
        assert_eq!(check_cutting_off(&Ok(false)).level, Level::Warning);
        assert_eq!(check_cutting_off(&unknown).level, Level::Warning);
    }

    #[test]
    fn each_lack_has_its_level() {
        use Level::{Error, Ok as Fine, Warning};
        assert_eq!(levels(Some((6, 18)), true, Ok(Hook::Tcx)), [Fine, Fine, Fine, Fine]);
        assert_eq!(levels(Some((6, 18)), true, Ok(Hook::Clsact)), [Fine, Fine, Fine, Fine]);
        assert_eq!(
            levels(Some((6, 1)), true, Ok(Hook::Clsact)),
            [Fine, Warning, Fine, Warning]
        );
        assert_eq!(
            levels(Some((6, 18)), false, Ok(Hook::Tcx)),
            [Fine, Fine, Warning, Warning]
        );
        let no_tcx = Err("no".to_owned());
        assert_eq!(levels(Some((5, 15)), true, no_tcx), [Warning, Error, Fine, Warning]);
        assert_eq!(levels(Some((5, 4)), true, Ok(Hook::Clsact))[0], Error);
        assert_eq!(levels(None, true, Ok(Hook::Clsact))[0], Warning);
    }
}
