//! Whether the agent's folders are its own to work in, found out before anything is changed in them.
//!
//! Without the rights that were given up not even root opens what belongs to somebody else. Here that is one
//! sentence with a folder, its owner and the way out, instead of a refusal in the middle of the start.

use std::path::PathBuf;

use nix::errno::Errno;
use nix::unistd::geteuid;

use super::name_of;
use super::places::{Facts, Needs, Place, places};
use crate::config::{AgentConfig, Config};

/// A folder or file that cannot be worked with.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {what} {} {problem}", path.display())]
pub struct AccessError {
    what: &'static str,
    path: PathBuf,
    problem: Box<Problem>,
}

/// Why it cannot be worked with.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Problem {
    #[error("belongs to {owner}, and this is {user}: run as {owner}, or hand it over with `{prepare}` as root")]
    Foreign {
        owner: String,
        user: String,
        prepare: String,
    },
    #[error("cannot be reached by {user}, because {} belongs to {owner}: {way_out}", above.display())]
    OutOfReach {
        user: String,
        above: PathBuf,
        owner: String,
        way_out: String,
    },
    #[error("is not there and {user} may not make it: run `{prepare}` as root, once after each boot")]
    Missing { user: String, prepare: String },
    #[error("is closed to {user}, whose own it is: open it with `chmod u+rwX`")]
    Closed { user: String },
    #[error("is on a read-only file system: mount it writable, or choose another folder")]
    ReadOnly,
}

/// Sees whether the data, the run folder and the pins of the configured instance can be worked with.
pub fn check(config: &Config) -> Result<(), AccessError> {
    let agent = &config.agent;
    for place in places(agent) {
        if let Some(facts) = Facts::gather(&place.path) {
            judge(&place, &facts, geteuid().as_raw(), agent)?;
        }
    }
    Ok(())
}

/// Whether user `me` can work with a place of which this is known.
fn judge(place: &Place, facts: &Facts, me: u32, agent: &AgentConfig) -> Result<(), AccessError> {
    let problem = problem(place, facts, me, agent);
    problem.map_or(Ok(()), |problem| {
        Err(AccessError {
            what: place.what,
            path: place.path.clone(),
            problem: Box::new(problem),
        })
    })
}

fn problem(place: &Place, facts: &Facts, me: u32, agent: &AgentConfig) -> Option<Problem> {
    let (user, owner) = (name_of(me), name_of(facts.owner));
    let prepare = prepare_command(&user, agent);
    let is_foreign = facts.is_there && facts.owner != me;
    let is_kept_out = match place.needs {
        Needs::Change => facts.obstacle == Some(Errno::EACCES),
        Needs::Own => true,
        Needs::Trust => facts.owner != 0,
    };
    match facts.obstacle {
        _ if facts.is_hidden => Some(Problem::OutOfReach {
            way_out: if place.path.starts_with(&agent.data_dir) {
                format!("run as {owner}, or choose a --data-dir that {user} can reach")
            } else {
                format!("run `{prepare}` as root")
            },
            above: facts.nearest.clone(),
            user,
            owner,
        }),
        _ if is_foreign && is_kept_out => Some(Problem::Foreign { owner, user, prepare }),
        None => None,
        // Whether it can be changed, or has to be, is told by what lies in it.
        Some(_) if place.needs == Needs::Trust => None,
        Some(Errno::EROFS) => Some(Problem::ReadOnly),
        Some(_) if facts.is_there => Some(Problem::Closed { user }),
        Some(_) => Some(Problem::Missing { user, prepare }),
    }
}

/// The command that makes everything `user` needs for this agent.
fn prepare_command(user: &str, agent: &AgentConfig) -> String {
    let (usual, mut command) = (AgentConfig::default(), format!("portmeter prepare --user {user}"));
    if agent.instance != usual.instance {
        command = format!("{command} --instance {}", agent.instance);
    }
    if agent.data_dir != usual.data_dir {
        command = format!("{command} --data-dir {}", agent.data_dir.display());
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: u32 = 3_999_999_999;

    fn sentence(place: (&'static str, &str, Needs), change: impl FnOnce(&mut Facts)) -> Option<String> {
        let (what, path, needs) = place;
        let place = Place {
            what,
            path: path.into(),
            needs,
        };
        let mut facts = Facts {
            is_there: true,
            nearest: path.into(),
            owner: ME,
            obstacle: None,
            is_hidden: false,
        };
        change(&mut facts);
        let agent = AgentConfig {
            data_dir: "/d".into(),
            ..AgentConfig::default()
        };
        judge(&place, &facts, ME, &agent).err().map(|error| error.to_string())
    }

    const DATA: (&str, &str, Needs) = ("data folder", "/d", Needs::Change);
    const PINS: (&str, &str, Needs) = ("folder of pins", "/p", Needs::Own);
    const ALL_PINS: (&str, &str, Needs) = ("folder of all pins", "/a", Needs::Trust);

    #[test]
    fn what_can_be_changed_is_fine_whoever_owns_it_unless_it_must_be_its_own() {
        assert_eq!(sentence(DATA, |_| ()), None);
        assert_eq!(sentence(DATA, |facts| facts.owner = 0), None);
        assert!(sentence(PINS, |facts| facts.owner = 0).is_some());
    }

    #[test]
    fn the_folder_of_all_pins_is_root_s_or_its_own() {
        let closed = |owner| {
            sentence(ALL_PINS, |facts| {
                facts.owner = owner;
                facts.obstacle = Some(Errno::EACCES);
            })
        };
        assert_eq!((closed(0), closed(ME)), (None, None));
        assert!(closed(ME - 1).unwrap().contains("belongs to 3999999998"));
    }

    #[test]
    fn names_owner_and_way_out() {
        let text = sentence(DATA, |facts| {
            facts.owner = 0;
            facts.obstacle = Some(Errno::EACCES);
        });
        assert_eq!(
            text.as_deref(),
            Some(
                "the data folder /d belongs to root, and this is 3999999999: run as root, or hand it over with \
                 `portmeter prepare --user 3999999999 --data-dir /d` as root"
            )
        );
    }

    #[test]
    fn what_is_missing_is_fine_where_it_can_be_made() {
        let missing = |facts: &mut Facts| {
            facts.is_there = false;
            facts.nearest = "/".into();
        };
        assert_eq!(sentence(PINS, missing), None);
        let text = sentence(PINS, |facts| {
            missing(facts);
            facts.obstacle = Some(Errno::EACCES);
        });
        assert!(text.unwrap().contains("is not there and 3999999999 may not make it"));
    }

    #[test]
    fn tells_a_closed_way_from_a_closed_folder_and_a_read_only_one() {
        let hidden = |facts: &mut Facts| {
            facts.is_there = false;
            facts.is_hidden = true;
            facts.owner = 0;
            facts.nearest = "/home/alice".into();
            facts.obstacle = Some(Errno::EACCES);
        };
        let text = sentence(DATA, hidden).unwrap();
        assert!(
            text.contains("because /home/alice belongs to root") && text.contains("choose a --data-dir"),
            "{text}"
        );
        let text = sentence(PINS, hidden).unwrap();
        assert!(text.contains("portmeter prepare"), "{text}");
        let text = sentence(DATA, |facts| facts.obstacle = Some(Errno::EACCES)).unwrap();
        assert!(text.contains("whose own it is"), "{text}");
        let text = sentence(DATA, |facts| facts.obstacle = Some(Errno::EROFS)).unwrap();
        assert!(text.contains("read-only"), "{text}");
    }
}
