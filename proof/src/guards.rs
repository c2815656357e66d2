//! The switches of the model: the guards of the design, and the mends that the model asked for.
//!
//! A guard (G1 to G15) is a rule of the protocol: `docs/protocol.md` tells what each says, and why. A mend (M1 and on) is a
//! rule without which the model finds a counterexample although all guards are on; the same page lists them.

use std::fmt;

macro_rules! switches {
    ($($variant:ident $name:literal $what:literal,)*) => {
        /// One rule that can be switched off.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Switch { $(#[doc = $what] $variant,)* }

        impl Switch {
            /// Every switch, guards first.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its short name, as in `docs/protocol.md`: `G7`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What the rule says.
            pub const fn what(self) -> &'static str {
                match self { $(Self::$variant => $what,)* }
            }
        }
    };
}

switches! {
    Life "G1" "each data set, list and group has a life of its own",
    RunStays "G2" "a run stays through crash, retry and failure",
    RunRemoved "G3" "the settling of a finished run removes it",
    Content "G4" "a list element's content is part of its run",
    TakenOver "G5" "a job of an older version keeps the old key",
    Aside "G6" "what was asked for meanwhile is set aside",
    OwnRecord "G7" "a run writes only to a record that names it",
    PayloadCopy "G8" "the execution has a copy of the payload",
    TakeLast "G9" "a claim takes last",
    PutBack "G10" "an error of the world puts the lease back",
    FarScores "G11" "RQ's own clean-up never sees our leases",
    PullIn "G12" "a lease that ends too late is pulled in",
    LeaseChecked "G13" "settling checks the lease by removing it",
    SameTransaction "G14" "Redis is told after the commit",
    LedgerKept "G15" "the ledger outlives what may come back",
    RecordLast "M1" "a script writes the record after the registries",
    RetryAside "M2" "an overwritten run that is retried or given back is set aside",
    FailedCopy "M3" "an overwritten run that failed is kept by itself, not under the id",
    ClearFailed "M4" "a claim and a finish take the id out of the failed registry",
    LifeDurable "M5" "nothing is claimed before the life is safe from a failover",
    DueStamp "M6" "a job that comes due has its due time in its run",
    NextRun "M7" "a repetition's run is made of the run before it",
    Fence "M8" "a newer run's commit also enters the runs it replaces",
    FailedKept "M9" "the ledger outlives the failed registry",
    OldAttempts "M10" "a record with attempts and no run keeps the old key",
    LeaseLast "M11" "a script checks the lease first and gives it up last",
    ExactTimes "M12" "a new time of enqueueing that no script of ours explains is a new run",
    GoneToo "M13" "a run whose record is gone is brought back like an overwritten one",
    LapsedInHand "M14" "a run is in hand until it is reclaimed, though its lease lapsed",
}

impl Switch {
    /// Whether this is a rule of the design, not one that the model asked for.
    pub fn is_guard(self) -> bool {
        self.name().starts_with('G')
    }
}

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The switches that are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Guards(u32);

impl Guards {
    /// Guards and mends.
    pub fn all() -> Self {
        Self(Switch::ALL.iter().fold(0, |bits, switch| bits | bit(*switch)))
    }

    /// The guards alone: the design as its page has it.
    pub fn as_designed() -> Self {
        Self(Switch::ALL.iter().filter(|switch| switch.is_guard()).fold(0, |bits, switch| bits | bit(*switch)))
    }

    /// The same with one of them off.
    #[must_use]
    pub fn without(self, switch: Switch) -> Self {
        Self(self.0 & !bit(switch))
    }

    /// Is it on?
    pub fn has(self, switch: Switch) -> bool {
        self.0 & bit(switch) != 0
    }
}

fn bit(switch: Switch) -> u32 {
    1 << (switch as u32)
}
