//! What a plan carries out: today a policy.
//!
//! A plan contains its intent, so that applying it never looks a policy up again: the configuration may have changed
//! meanwhile. It must not know how the intent is evaluated.

use std::sync::Arc;

use crate::policy::{Mode, Policy};

/// What a plan of a repository carries out.
#[derive(Debug, Clone, PartialEq)]
pub enum Intent {
    /// The policy that claims the repository.
    Policy(Arc<Policy>),
    /// No policy claims the repository, so everything is kept.
    Unclaimed,
}

impl Intent {
    /// The policy, if there is one.
    pub fn policy(&self) -> Option<&Policy> {
        match self {
            Self::Policy(policy) => Some(policy),
            Self::Unclaimed => None,
        }
    }

    /// The name of the policy; empty without one.
    pub fn policy_name(&self) -> &str {
        self.policy().map_or("", |policy| &policy.name)
    }

    /// Whether the plan is only made and not applied.
    pub fn is_held_back(&self) -> bool {
        self.policy().is_none_or(|policy| policy.mode == Mode::Plan)
    }
}
