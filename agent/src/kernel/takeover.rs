//! What a start does with the maps it finds: take them up, make new ones, or move from the one to the other.
//!
//! Maps that cannot go on (another layout, too little room) are left in place while their successors are made beside
//! them; the programs are moved over, and only when nothing can count into the old ones any more are those booked and
//! removed. A start that is killed on the way is continued by the next one. The decision is here, over plain data.

use portmeter_ebpf::layout::{LAYOUT_VERSION, MapLife};

/// What is pinned in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing, or maps that no start has finished making: nothing was ever attached to them.
    Nothing,
    /// A complete set.
    Maps(MapLife),
}

/// What is needed of maps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needs {
    /// The network namespace that is counted.
    pub(super) netns_cookie: u64,
    /// Whether every wanted port has a slot in the present maps, or room for one.
    pub(super) ports_fit: bool,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takeover {
    /// Make maps.
    Begin,
    /// Go on with the present ones.
    TakeUp(MapLife),
    /// Make successors of the present ones and move to them.
    Migrate {
        /// The present ones.
        from: MapLife,
    },
    /// Go on moving to the successors.
    Continue {
        /// The present ones.
        from: MapLife,
        /// The successors.
        to: MapLife,
    },
    /// The successors are all there is left: give them their place, and go on with them.
    Finish(MapLife),
}

/// Why the maps that are there cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A later version made them.
    NewerLayout(u32),
    /// They count another network namespace.
    OtherNamespace,
}

/// Decides over the maps in their place and over those beside it.
pub(super) fn decide(present: Found, successors: Found, needs: Needs) -> Result<Takeover, Refusal> {
    for found in [present, successors] {
        if let Found::Maps(life) = found {
            check(&life, needs)?;
        }
    }
    Ok(match (present, successors) {
        (Found::Nothing, Found::Nothing) => Takeover::Begin,
        (Found::Nothing, Found::Maps(life)) => Takeover::Finish(life),
        (Found::Maps(from), Found::Maps(to)) => Takeover::Continue { from, to },
        (Found::Maps(life), Found::Nothing) if life.layout_version == LAYOUT_VERSION && needs.ports_fit => {
            Takeover::TakeUp(life)
        }
        (Found::Maps(from), Found::Nothing) => Takeover::Migrate { from },
    })
}

fn check(life: &MapLife, needs: Needs) -> Result<(), Refusal> {
    if life.layout_version > LAYOUT_VERSION {
        return Err(Refusal::NewerLayout(life.layout_version));
    }
    if life.netns_cookie != needs.netns_cookie {
        return Err(Refusal::OtherNamespace);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDS: Needs = Needs {
        netns_cookie: 1,
        ports_fit: true,
    };

    fn life(id: u8) -> MapLife {
        MapLife {
            id: [id; 16],
            netns_cookie: 1,
            layout_version: LAYOUT_VERSION,
            ..MapLife::default()
        }
    }

    #[test]
    fn maps_that_fit_are_taken_up() {
        assert_eq!(decide(Found::Nothing, Found::Nothing, NEEDS), Ok(Takeover::Begin));
        let taken_up = decide(Found::Maps(life(1)), Found::Nothing, NEEDS);
        assert_eq!(taken_up, Ok(Takeover::TakeUp(life(1))));
    }

    #[test]
    fn maps_of_an_earlier_layout_or_without_room_get_successors() {
        let earlier = MapLife {
            layout_version: LAYOUT_VERSION - 1,
            ..life(1)
        };
        let moved = decide(Found::Maps(earlier), Found::Nothing, NEEDS);
        assert_eq!(moved, Ok(Takeover::Migrate { from: earlier }));
        let full = Needs {
            ports_fit: false,
            ..NEEDS
        };
        let moved = decide(Found::Maps(life(1)), Found::Nothing, full);
        assert_eq!(moved, Ok(Takeover::Migrate { from: life(1) }));
    }

    #[test]
    fn a_move_that_was_cut_short_goes_on() {
        let both = decide(Found::Maps(life(1)), Found::Maps(life(2)), NEEDS);
        assert_eq!(
            both,
            Ok(Takeover::Continue {
                from: life(1),
                to: life(2)
            })
        );
        let only_successors = decide(Found::Nothing, Found::Maps(life(2)), NEEDS);
        assert_eq!(only_successors, Ok(Takeover::Finish(life(2))));
    }

    #[test]
    fn what_is_somebody_elses_or_from_the_future_is_refused() {
        let later = MapLife {
            layout_version: LAYOUT_VERSION + 1,
            ..life(1)
        };
        let elsewhere = MapLife {
            netns_cookie: 2,
            ..life(1)
        };
        for (maps, refusal) in [
            (later, Refusal::NewerLayout(LAYOUT_VERSION + 1)),
            (elsewhere, Refusal::OtherNamespace),
        ] {
            assert_eq!(decide(Found::Maps(maps), Found::Nothing, NEEDS), Err(refusal));
            assert_eq!(decide(Found::Nothing, Found::Maps(maps), NEEDS), Err(refusal));
        }
    }
}
