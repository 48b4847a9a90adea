//! Sentinels, each asked by one watcher however many deployments name it: a connection that asks, and one that listens.

mod hub;
mod listener;
mod messages;
mod watcher;

pub(crate) use hub::Hub;
pub(crate) use messages::{Announcement, Announcements};
pub use watcher::Watch;
