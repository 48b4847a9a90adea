//! Deployments whose nodes Sentinels name.

mod agreement;
mod membership;
mod scene;
