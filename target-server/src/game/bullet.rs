//! One bullet, and the two ways a game can keep its bullets.

use clap::ValueEnum;
use indexmap::IndexMap;
use serde::Serialize;

use super::player::{PlayerState, Side};
use super::rules::{self, BULLET_RADIUS, PLAYER_RADIUS};
use crate::logger::Logger;

/// A flying bullet.
#[derive(Clone, Debug, Serialize)]
pub struct Bullet {
    /// Position of its centre.
    pub x: f64,
    /// 1 to the right (shot by player one), -1 to the left.
    pub direction: i32,
    /// Unique in this process.
    pub id: u64,
}

impl Bullet {
    fn advance(&mut self, distance: f64) {
        self.x += f64::from(self.direction) * distance;
    }
}

/// A new bullet at the edge of the player who shoots it.
#[inline(never)]
pub fn create_bullet(player: &PlayerState, id: u64) -> Box<Bullet> {
    let x = f64::from(player.x + (PLAYER_RADIUS + BULLET_RADIUS) * player.direction);
    Box::new(Bullet { x, direction: player.direction, id })
}

/// How a game keeps its bullets (`--bullets`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum BulletStore {
    /// One ordered set a player.
    #[default]
    Set,
    /// One array for both players: fewer and smaller allocations.
    Array,
}

/// A set by identity that keeps the order of insertion.
type BulletSet = IndexMap<u64, Box<Bullet>>;

/// The bullets of one game, oldest first within a side. Both stores hold boxes, and both give the same games.
#[derive(Debug)]
pub enum Bullets {
    /// See [`BulletStore::Set`]: player one's, player two's.
    Sets(BulletSet, BulletSet),
    /// See [`BulletStore::Array`].
    Array(Vec<Box<Bullet>>),
}

/// What one update needs to know besides the bullets.
pub struct Step<'a> {
    /// How far bullets fly in this update.
    pub distance: f64,
    /// Player one.
    pub p1: &'a PlayerState,
    /// Player two.
    pub p2: &'a PlayerState,
    /// The game's logger.
    pub logger: &'a Logger,
}

#[derive(Serialize)]
struct Collided<'a> {
    b: &'a Bullet,
    other: &'a Bullet,
}

impl Bullets {
    /// An empty store.
    pub fn new(store: BulletStore) -> Self {
        match store {
            BulletStore::Set => Self::Sets(BulletSet::new(), BulletSet::new()),
            BulletStore::Array => Self::Array(Vec::new()),
        }
    }

    /// Number of flying bullets.
    pub fn len(&self) -> usize {
        match self {
            Self::Sets(one, two) => one.len() + two.len(),
            Self::Array(all) => all.len(),
        }
    }

    /// Whether no bullet flies.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a bullet just created.
    pub fn insert(&mut self, bullet: Box<Bullet>) {
        match self {
            Self::Sets(one, two) => {
                let set = if bullet.direction > 0 { one } else { two };
                set.insert(bullet.id, bullet);
            }
            Self::Array(all) => all.push(bullet),
        }
    }

    /// Moves player two's bullets, then player one's, and gives the winner as soon as a bullet reaches a player. A
    /// bullet of player one that meets one of player two's is put into `removed` together with it (each of player one's
    /// meets at most one in an update, one of player two's may be met more than once).
    pub fn advance(&mut self, step: &Step<'_>, removed: &mut Vec<u64>) -> Option<Side> {
        match self {
            Self::Sets(one, two) => {
                for bullet in two.values_mut() {
                    bullet.advance(step.distance);
                    if rules::reached(step.p1, bullet) {
                        return Some(Side::Two);
                    }
                }
                for bullet in one.values_mut() {
                    bullet.advance(step.distance);
                    if rules::reached(step.p2, bullet) {
                        return Some(Side::One);
                    }
                    if let Some(other) = two.values().find(|other| rules::collide(bullet, other)) {
                        meet(bullet, other, step.logger, removed);
                    }
                }
            }
            Self::Array(all) => {
                for bullet in all.iter_mut().filter(|bullet| bullet.direction < 0) {
                    bullet.advance(step.distance);
                    if rules::reached(step.p1, bullet) {
                        return Some(Side::Two);
                    }
                }
                for index in 0..all.len() {
                    if all[index].direction < 0 {
                        continue;
                    }
                    all[index].advance(step.distance);
                    let bullet = &all[index];
                    if rules::reached(step.p2, bullet) {
                        return Some(Side::One);
                    }
                    let mut others = all.iter().filter(|other| other.direction < 0);
                    if let Some(other) = others.find(|other| rules::collide(bullet, other)) {
                        meet(bullet, other, step.logger, removed);
                    }
                }
            }
        }
        None
    }

    /// Removes the bullets with these ids; an id may be named more than once.
    pub fn remove(&mut self, ids: &[u64]) {
        for id in ids {
            match self {
                Self::Sets(one, two) => {
                    if one.shift_remove(id).is_none() {
                        two.shift_remove(id);
                    }
                }
                Self::Array(all) => {
                    if let Some(index) = all.iter().position(|bullet| bullet.id == *id) {
                        all.remove(index);
                    }
                }
            }
        }
    }
}

fn meet(bullet: &Bullet, other: &Bullet, logger: &Logger, removed: &mut Vec<u64>) {
    logger.info_with(Box::new(Collided { b: bullet, other }), "bullets collided");
    removed.push(bullet.id);
    removed.push(other.id);
}
