//! Supervisors that end with their significant children (OTP 24). Never whether such a child is started again.

use crate::spec::AutoShutdown;

use super::action::{Action, Down};
use super::node::ChildId;
use super::tree::Tree;

impl Tree {
    /// A significant child ended by itself and is not restarted: the only case that counts. `terminate_child`, the end
    /// of a sibling and a restart never come here.
    pub(super) fn auto_shutdown(&mut self, id: ChildId) {
        let Some(supervisor) = self.nodes.supervisor(id) else { return };
        let ends = match supervisor.plan.policy.auto_shutdown {
            AutoShutdown::Never => false,
            AutoShutdown::AnySignificant => true,
            AutoShutdown::AllSignificant => supervisor.tally.significant == 0,
        };
        if !ends {
            return;
        }
        self.out.push(Action::Ended { supervisor: supervisor.plan.name.clone() });
        if id == self.root {
            self.down.get_or_insert(Down::Ended);
        }
        self.begin_end(id, None);
    }
}
