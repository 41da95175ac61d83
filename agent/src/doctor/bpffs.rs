//! The BPF file system: mounted, writable, and the instance's folder in the right hands.

use super::Finding;
use crate::kernel::inspect::BpfFs;

/// `agent_owner` is the running agent's user, `data_owner` that of the data folder: whoever these are is who the
/// pins should belong to, and otherwise whoever asks.
pub(super) fn check(facts: &BpfFs, agent_owner: Option<u32>, data_owner: Option<u32>) -> Finding {
    let name = "bpffs";
    let folder = facts.folder.display();
    if !facts.is_mounted {
        return Finding::warning(
            name,
            "no BPF file system is mounted at /sys/fs/bpf; an agent that may mount it does so at its start",
            "mount -t bpf bpf /sys/fs/bpf",
        );
    }
    if facts.is_read_only {
        return Finding::error(
            name,
            "the BPF file system at /sys/fs/bpf is read-only: nothing can be pinned",
            "mount -o remount,rw /sys/fs/bpf",
        );
    }
    if let Some(refusal) = &facts.refusal {
        return Finding::error(
            name,
            format!("{folder} cannot be looked at: {refusal}"),
            "run `portmeter doctor` as root or as the agent's user",
        );
    }
    let wanted = agent_owner
        .or(data_owner)
        .unwrap_or_else(|| nix::unistd::geteuid().as_raw());
    match facts.owner {
        None => Finding::ok(name, "mounted and writable; nothing is pinned for this instance"),
        Some(owner) if owner == wanted => Finding::ok(name, format!("mounted and writable; pins lie in {folder}")),
        Some(owner) => Finding::error(
            name,
            format!("{folder} belongs to user {owner}, not to user {wanted}"),
            format!(
                "run the agent as user {owner}, choose another --instance, or remove the folder if it is a stranger's"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    fn level(change: impl FnOnce(&mut BpfFs), agent: Option<u32>, data: Option<u32>) -> Level {
        let mut facts = BpfFs {
            is_mounted: true,
            owner: Some(7),
            ..BpfFs::default()
        };
        change(&mut facts);
        check(&facts, agent, data).level
    }

    #[test]
    fn tells_whose_it_is() {
        assert_eq!(level(|_| {}, Some(7), Some(0)), Level::Ok);
        assert_eq!(level(|_| {}, None, Some(7)), Level::Ok);
        assert_eq!(level(|_| {}, None, Some(8)), Level::Error);
        assert_eq!(level(|facts| facts.owner = None, None, Some(8)), Level::Ok);
    }

    #[test]
    fn tells_what_is_missing() {
        assert_eq!(level(|facts| facts.is_mounted = false, None, None), Level::Warning);
        assert_eq!(level(|facts| facts.is_read_only = true, None, Some(7)), Level::Error);
        assert_eq!(
            level(|facts| facts.refusal = Some("no".into()), None, Some(7)),
            Level::Error
        );
    }
}
