//! A random walk of three tenants over all methods, each with ids of its own, of another, and of nobody.

use store::{Store, TenantStore};

use super::dice::Dice;
use super::ids::{Belongings, Ids, mark};
use super::register::{Held, Way};
use super::state::Eye;
use crate::house::House;

/// After this many operations the walk goes on with new tenants: what a tenant has stays small.
const LIFE: usize = 250;
/// Operations of one tenant between two looks at the others.
const TURN: usize = 10;

struct Walker<'a> {
    store: Store,
    eye: Eye,
    ways: &'a [Way],
    tenants: Vec<TenantStore>,
    dice: Dice,
}

/// Walks `operations` steps; the first thing that is not as promised ends it.
pub(crate) async fn walk(house: &House, ways: &[Way], operations: usize, seed: u64) -> Result<(), String> {
    let (store, eye) = (house.store.clone(), Eye::on(house).await);
    let mut walker = Walker { store, eye, ways, tenants: Vec::new(), dice: Dice::new(seed) };
    for done in (0..operations).step_by(TURN) {
        if done % LIFE == 0 {
            walker.settle(house, done).await;
        }
        walker.turn().await.map_err(|violation| format!("seed {seed}, operation {done} or later: {violation}"))?;
    }
    Ok(())
}

impl Walker<'_> {
    /// Three new tenants that already have something.
    async fn settle(&mut self, house: &House, number: usize) {
        self.tenants.clear();
        for letter in ["a", "b", "c"] {
            let tenant = house.tenant(&format!("{letter}{number}")).await;
            for way in self.ways.iter().filter(|way| way.name.starts_with("create_") && way.held == Held::ToItsOwn) {
                for _ in 0..2 {
                    let ids = Ids::unknown(&mark(&tenant), &mut self.dice);
                    (way.call)(self.store.clone(), tenant.clone(), ids).await;
                }
            }
            self.tenants.push(tenant);
        }
    }

    /// Some operations of one tenant, after which the others are as before.
    async fn turn(&mut self) -> Result<(), String> {
        let (mut things, mut before) = (Vec::new(), Vec::new());
        for tenant in &self.tenants {
            things.push(Belongings::of(tenant).await);
            before.push(self.eye.sees(tenant.id()).await);
        }
        let me = self.dice.below(self.tenants.len());
        let mut done = Vec::new();
        for _ in 0..TURN {
            let way = &self.ways[self.dice.below(self.ways.len())];
            let whose = self.dice.below(self.tenants.len());
            done.push((way.name, whose == me));
            if whose == me || way.held == Held::ToItsOwn {
                let ids = things[whose].some(&mark(&self.tenants[me]), &things[me], &mut self.dice);
                self.call(way, me, ids).await?;
            } else {
                self.compare(way, me, &things[whose], &things[me]).await?;
            }
        }
        for (whose, before) in before.iter().enumerate().filter(|(whose, _)| *whose != me) {
            let now = self.eye.sees(self.tenants[whose].id()).await;
            if now != *before {
                return Err(format!("one of {done:?} changed another tenant's rows\nbefore {before}\nafter {now}"));
            }
        }
        Ok(())
    }

    /// With another's ids as with nobody's: the same answer, and nothing happens to the caller either.
    async fn compare(&mut self, way: &Way, me: usize, theirs: &Belongings, mine: &Belongings) -> Result<(), String> {
        let mark = mark(&self.tenants[me]);
        let foreign = theirs.some(&mark, mine, &mut self.dice);
        let nobody = Ids::unknown(&mark, &mut self.dice);
        // All that is not an id stays the same.
        let own = (foreign.own_user, foreign.own_server);
        let unknown =
            Ids { own_user: own.0, own_server: own.1, expected: foreign.expected, coin: foreign.coin, ..nobody };
        let before = self.eye.sees(self.tenants[me].id()).await;
        let told_foreign = self.call(way, me, foreign).await?;
        let told_unknown = self.call(way, me, unknown).await?;
        if told_foreign != told_unknown {
            let name = way.name;
            return Err(format!("{name} tells another's ids from nobody's: {told_foreign} and {told_unknown}"));
        }
        if self.eye.sees(self.tenants[me].id()).await != before {
            return Err(format!("{} did something with ids that are not the caller's", way.name));
        }
        Ok(())
    }

    /// One call, whose answer must not hold anything of the others.
    async fn call(&self, way: &Way, me: usize, ids: Ids) -> Result<String, String> {
        let answer = (way.call)(self.store.clone(), self.tenants[me].clone(), ids.clone()).await;
        let answer = ids.hidden_in(&answer);
        for other in self.tenants.iter().enumerate().filter(|(whose, _)| *whose != me).map(|(_, tenant)| tenant) {
            if answer.contains(&mark(other)) || answer.contains(&other.id().to_string()) {
                return Err(format!("{} tells of another tenant: {answer}", way.name));
            }
        }
        Ok(answer)
    }
}
