//! The interfaces that should be counted on.

use std::io;

use super::Finding;
use super::report::some_of;
use crate::config::Interfaces;
use crate::network::plan::Plan;

pub(super) fn check(plan: &io::Result<Plan>, wanted: &Interfaces) -> Finding {
    let name = "interfaces";
    let plan = match plan {
        Ok(plan) => plan,
        Err(error) => {
            let found = format!("the network's interfaces cannot be read: {error}");
            return Finding::error(name, found, "check that this kernel has rtnetlink, and try again");
        }
    };
    if plan.targets.is_empty() {
        let found = match wanted {
            Interfaces::Named(names) => format!("there is no {}", names.join(" and no ")),
            Interfaces::Auto => "no interface has an IP address".to_owned(),
        };
        let remedy = format!("set `capture.interfaces`; this host has {}", some_of(&plan.left_out));
        return Finding::error(name, found, remedy);
    }
    let targets: Vec<&str> = plan.targets.iter().map(|target| target.name.as_str()).collect();
    let found = format!("to be counted: {}", some_of(&targets));
    if plan.warnings.is_empty() {
        return Finding::ok(name, found);
    }
    Finding::warning(
        name,
        format!("{found}; {}", plan.warnings.join("; ")),
        "nothing, if the interface is yet to come; otherwise correct `capture.interfaces`",
    )
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use crate::network::plan::Target;

    #[test]
    fn one_that_is_missing_may_come_and_all_missing_is_wrong() {
        let wanted = Interfaces::Named(vec!["eth0".into(), "eth9".into()]);
        let mut plan = Plan {
            targets: vec![Target {
                index: 2,
                name: "eth0".into(),
                has_link_header: true,
                is_loopback: false,
            }],
            ..Plan::default()
        };
        assert_eq!(check(&Ok(plan.clone()), &wanted).level, Level::Ok);
        plan.warnings.push("there is no interface eth9".into());
        let finding = check(&Ok(plan.clone()), &wanted);
        assert_eq!(finding.level, Level::Warning);
        assert!(finding.found.contains("eth9"), "{}", finding.found);
        plan.targets.clear();
        assert_eq!(check(&Ok(plan), &wanted).level, Level::Error);
    }
}
