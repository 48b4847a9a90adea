//! Detection of an exporter that is cut off from the network.
//!
//! If most nodes of most deployments fall silent at the same time, the exporter itself is cut off,
//! and the silence says nothing about the nodes.
//!
//! - `contact.rs`: contact with single nodes and with the nodes of one deployment.
//! - `verdict.rs`: [`is_cut_off`](verdict::is_cut_off) decides from the contact with all nodes.
//! - `fleet_contact.rs`: the contact with all nodes, and counts that spare most decisions.
//! - `detector.rs`: [`BlindnessDetector`] collects the contact and reports the verdict.

mod contact;
mod detector;
mod fleet_contact;
mod verdict;

pub(crate) use self::contact::DeploymentContact;
pub(crate) use self::detector::{BlindnessDetector, ContactReporter};
