//! Users of this machine, by name and number.

use nix::unistd::{Gid, Uid, User};

/// There is no such user.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no user {0} on this machine: make one with `useradd --system {0}`, or name another")]
pub struct UnknownUser(String);

/// A user with the group that its files get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The name.
    pub name: String,
    /// The user's number.
    pub uid: Uid,
    /// The number of its first group.
    pub gid: Gid,
}

impl Account {
    /// The user of this name, or of this number where no user has it for a name.
    pub fn find(name: &str) -> Result<Self, UnknownUser> {
        let by_number = || {
            let number = name.parse().ok()?;
            User::from_uid(Uid::from_raw(number)).ok().flatten()
        };
        let found = User::from_name(name).ok().flatten().or_else(by_number);
        found.map(Self::from).ok_or_else(|| UnknownUser(name.to_owned()))
    }

    /// Root, who owns the folders that several instances share.
    pub fn root() -> Self {
        Self {
            name: "root".to_owned(),
            uid: Uid::from_raw(0),
            gid: Gid::from_raw(0),
        }
    }
}

impl From<User> for Account {
    fn from(user: User) -> Self {
        Self {
            name: user.name,
            uid: user.uid,
            gid: user.gid,
        }
    }
}

/// What people call a user: the name, or the number where it has none.
pub fn name_of(uid: u32) -> String {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        _ => uid.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_user_by_name_and_by_number() {
        assert_eq!(Account::find("root"), Ok(Account::root()));
        assert_eq!(Account::find("0"), Ok(Account::root()));
        assert_eq!(name_of(0), "root");
    }

    #[test]
    fn names_the_user_that_is_not_there() {
        let error = Account::find("no-such-user").unwrap_err();
        assert!(
            error.to_string().starts_with("there is no user no-such-user "),
            "{error}"
        );
        assert_eq!(name_of(3_999_999_999), "3999999999");
    }
}
