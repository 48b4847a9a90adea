//! The page at `/`.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use topology::DeploymentView;

const STYLE: &str = "body{font-family:system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;line-height:1.5}\
table{border-collapse:collapse}th,td{text-align:left;padding:.2rem 1rem .2rem 0}";

/// The page at `/`: what is watched, and where to read on.
pub fn landing<'a>(version: &str, deployments: impl Iterator<Item = &'a DeploymentView>) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Rolecall" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "Rolecall" }
                p { "Prometheus exporter for Redis and Valkey, version " (version) "." }
                ul {
                    li { a href="/metrics" { "Metrics" } }
                    li { a href="/-/healthy" { "Health" } }
                    li { a href="/-/ready" { "Readiness" } }
                }
                @for deployment in deployments { (section(deployment)) }
            }
        }
    };
    page.into_string()
}

fn section(view: &DeploymentView) -> Markup {
    html! {
        h2 { (view.deployment.name) }
        @if view.at.is_none() {
            p { "Waiting for the first round." }
        } @else {
            table {
                thead { tr { th { "Node" } th { "State" } th { "Role" } } }
                tbody {
                    @for (_, node) in view.members() {
                        tr {
                            td { (node.node.name) }
                            td { (state(node)) }
                            td { (node.role().map_or("", snapshot::Role::label)) }
                        }
                    }
                }
            }
        }
    }
}

fn state(node: &topology::NodeView) -> String {
    match node.presence {
        topology::Presence::Pending => "pending".to_owned(),
        topology::Presence::Up => "up".to_owned(),
        topology::Presence::Down { reason, .. } => format!("down: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use snapshot::Reason;
    use topology::{Deployment, Fold, Kind, Outcome, Round};

    use super::*;

    #[test]
    fn names_appear_as_text_and_states_as_words() {
        let second = Duration::from_secs(1);
        let mut deployment = Deployment::new("<b>orders", Kind::Static, &[], second, second);
        deployment.add("a&b", "a&b", None);
        let mut fold = Fold::new(Arc::new(deployment));
        let outcomes = vec![Outcome::Failed(Reason::Refused)];
        let round = Round::new(SystemTime::UNIX_EPOCH, second, outcomes);
        let page = landing("0.1.0", std::iter::once(&*fold.apply(&round).view));
        for text in ["&lt;b&gt;orders", "a&amp;b", "down: refused", "version 0.1.0"] {
            assert!(page.contains(text), "{text} in {page}");
        }
    }
}
