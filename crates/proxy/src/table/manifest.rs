//! The lists of a mount as one part of its callers sees them: one set for each of the terms on which it is spoken with.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwap;
use mcp::ListKind;

use super::mount::ListCell;
use crate::client::Terms;

/// Most sets beside the plain one; the oldest goes first. Every mix of capabilities that clients declare makes one.
const MOST: usize = 32;

/// One cell for each kind of list.
pub(super) type Cells = Arc<[Arc<ListCell>; 4]>;

/// See the module.
pub(super) struct Manifest {
    /// Rise whenever the upstream says that a list has changed: on whichever terms it was told.
    changed: [Arc<AtomicU64>; 4],
    /// For clients with a session that can't be asked anything.
    plain: Cells,
    others: ArcSwap<Vec<(Terms, Cells)>>,
}

impl Default for Manifest {
    fn default() -> Self {
        let changed: [Arc<AtomicU64>; 4] = Default::default();
        Self { plain: cells(&changed), changed, others: ArcSwap::default() }
    }
}

impl Manifest {
    /// The cells for these terms, made if need be.
    pub(super) fn on(&self, terms: Terms) -> Cells {
        if let Some(cells) = self.known_on(terms) {
            return cells;
        }
        let fresh = cells(&self.changed);
        self.others.rcu(|others| {
            let mut others = Vec::clone(others);
            if !others.iter().any(|(there, _)| *there == terms) {
                if others.len() >= MOST {
                    others.remove(0);
                }
                others.push((terms, fresh.clone()));
            }
            others
        });
        self.known_on(terms).unwrap_or(fresh)
    }

    /// The cells for these terms, if somebody has asked for them.
    pub(super) fn known_on(&self, terms: Terms) -> Option<Cells> {
        if terms == Terms::default() {
            return Some(self.plain.clone());
        }
        self.others.load().iter().find(|(there, _)| *there == terms).map(|(_, cells)| cells.clone())
    }

    /// Every set.
    pub(super) fn all(&self) -> Vec<Cells> {
        let others = self.others.load();
        std::iter::once(&self.plain).chain(others.iter().map(|(_, cells)| cells)).cloned().collect()
    }
}

/// The cell of one kind.
pub(super) fn of_kind(cells: &[Arc<ListCell>; 4], kind: ListKind) -> &Arc<ListCell> {
    let [tools, prompts, resources, templates] = cells;
    match kind {
        ListKind::Tools => tools,
        ListKind::Prompts => prompts,
        ListKind::Resources => resources,
        ListKind::Templates => templates,
    }
}

fn cells(changed: &[Arc<AtomicU64>; 4]) -> Cells {
    Arc::new(changed.clone().map(|changed| Arc::new(ListCell::counting(changed))))
}
