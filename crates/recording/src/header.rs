//! Header of a recording: the deployment as configured, and the state that was restored.

use std::sync::Arc;
use std::time::Duration;

use snapshot::{OptionalCommand, Role};
use topology::{
    AofExpectation, Deployment, DeploymentKind, Discovery, EndpointKind, Expectations, NodeKind,
    NodeNameTemplate, SavedState, ServiceEndpoint,
};

use crate::lines::{
    ConfiguredNode, DeploymentLine, DiscoveryLine, EndpointLine, ExpectLine, FORMAT, HeaderLine,
    RestoredLine, VERSION,
};
use crate::reading::Problem;
use crate::time::{nanos, wall, wall_nanos};

/// Header of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Version of the Rolecall that wrote the recording.
    pub rolecall: String,
    /// The deployment as configured, before the first round.
    pub deployment: Arc<Deployment>,
    /// The saved state that was restored before the first round, if any.
    pub restored: Option<Restored>,
}

/// Saved state that was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The state.
    pub state: SavedState,
    /// Time between the saving of the state and the start of the exporter.
    pub downtime: Duration,
}

impl Header {
    /// Returns the header as its line.
    pub(crate) fn to_line(&self) -> HeaderLine {
        HeaderLine {
            format: FORMAT.to_owned(),
            version: VERSION,
            rolecall: self.rolecall.clone(),
            deployment: deployment_line(&self.deployment),
            restored: self.restored.as_ref().map(|restored| RestoredLine {
                downtime: nanos(restored.downtime),
                state: restored.state.clone(),
            }),
        }
    }

    /// Returns the header of a line.
    pub(crate) fn from_line(line: HeaderLine) -> Result<Self, Problem> {
        Ok(Header {
            rolecall: line.rolecall,
            deployment: Arc::new(deployment(line.deployment)?),
            restored: line.restored.map(|restored| Restored {
                state: restored.state,
                downtime: Duration::from_nanos(restored.downtime),
            }),
        })
    }
}

fn deployment_line(deployment: &Deployment) -> DeploymentLine {
    let node = |node: &Arc<topology::Node>| ConfiguredNode {
        name: node.name.clone(),
        address: node.address.clone(),
        sentinel_shown: match node.kind {
            NodeKind::Sentinel { shown } => Some(shown),
            NodeKind::Data | NodeKind::Vacant => None,
        },
        role: match node.kind {
            NodeKind::Sentinel { .. } => None,
            NodeKind::Data | NodeKind::Vacant => {
                node.expected_role.map(|role| role.label().to_owned())
            }
        },
    };
    let expect = deployment.expect;
    DeploymentLine {
        name: deployment.name.clone(),
        kind: deployment.kind.label().to_owned(),
        labels: deployment.labels.iter().skip(1).cloned().collect(),
        interval: nanos(deployment.interval),
        down_after: nanos(deployment.down_after),
        nodes: deployment.nodes.values().map(node).collect(),
        aliases: deployment
            .other_addresses()
            .into_iter()
            .map(|(other, known)| (other.to_owned(), known.to_owned()))
            .collect(),
        expect: ExpectLine {
            replicas: expect.replicas,
            masters: expect.masters,
            external: expect.external,
            aof: expect.aof.map(|aof| aof.label().to_owned()),
            unknown_role: expect.unknown_role,
            until: expect.until.map(wall_nanos),
        },
        endpoints: deployment
            .endpoints
            .iter()
            .map(|endpoint| EndpointLine {
                kind: endpoint.kind.label().to_owned(),
                address: endpoint.address.clone(),
            })
            .collect(),
        discovery: deployment.discovery.as_ref().map(|discovery| DiscoveryLine {
            master: discovery.master.clone(),
            names: discovery.names.to_string(),
            address_map: discovery.address_map.clone(),
            ghost_after: nanos(discovery.ghost_after),
            forget_after: nanos(discovery.forget_after),
        }),
        limits: deployment.limits.into(),
        preset: deployment.preset.clone(),
        skipped: deployment.skipped.iter().map(|command| command.label().to_owned()).collect(),
    }
}

fn deployment(line: DeploymentLine) -> Result<Deployment, Problem> {
    let mut deployment = Deployment::new(
        line.name,
        deployment_kind(&line.kind)?,
        &line.labels,
        Duration::from_nanos(line.interval),
        Duration::from_nanos(line.down_after),
    );
    for node in line.nodes {
        if let Some(shown) = node.sentinel_shown {
            deployment.add_sentinel(node.name, node.address, shown);
        } else {
            let role = node.role.as_deref().map(role).transpose()?;
            deployment.add(node.name, node.address, role);
        }
    }
    for (other, known) in line.aliases {
        if !deployment.alias(other.as_str(), &known) {
            return Err(Problem::damaged(format!("the alias {other} leads to no node")));
        }
    }
    let aof = line.expect.aof.as_deref().map(aof_expectation).transpose()?;
    deployment.expect = Expectations {
        replicas: line.expect.replicas,
        masters: line.expect.masters,
        external: line.expect.external,
        aof,
        unknown_role: line.expect.unknown_role,
        until: line.expect.until.map(wall),
    };
    for endpoint in line.endpoints {
        let kind = endpoint_kind(&endpoint.kind)?;
        deployment.endpoints.push(ServiceEndpoint { kind, address: endpoint.address });
    }
    deployment.discovery = match line.discovery {
        Some(discovery) => Some(Discovery {
            master: discovery.master,
            names: NodeNameTemplate::new(&discovery.names).map_err(Problem::damaged)?,
            address_map: discovery.address_map,
            ghost_after: Duration::from_nanos(discovery.ghost_after),
            forget_after: Duration::from_nanos(discovery.forget_after),
        }),
        None => None,
    };
    deployment.limits = line.limits.into();
    deployment.preset = line.preset;
    let skipped = line.skipped.iter().map(|label| optional_command(label));
    deployment.skipped = skipped.collect::<Result<_, _>>()?;
    Ok(deployment)
}

fn optional_command(label: &str) -> Result<OptionalCommand, Problem> {
    OptionalCommand::from_label(label).ok_or_else(|| Problem::unknown("optional command", label))
}

fn deployment_kind(label: &str) -> Result<DeploymentKind, Problem> {
    let kinds = [
        DeploymentKind::Static,
        DeploymentKind::Sentinel,
        DeploymentKind::Cluster,
        DeploymentKind::Dns,
    ];
    let kind = kinds.into_iter().find(|kind| kind.label() == label);
    kind.ok_or_else(|| Problem::unknown("kind of deployment", label))
}

/// Returns the role with a label.
pub(crate) fn role(label: &str) -> Result<Role, Problem> {
    Role::from_label(label).ok_or_else(|| Problem::unknown("role", label))
}

fn aof_expectation(label: &str) -> Result<AofExpectation, Problem> {
    let expectations = [AofExpectation::All, AofExpectation::Replicas, AofExpectation::None];
    let expectation = expectations.into_iter().find(|expectation| expectation.label() == label);
    expectation.ok_or_else(|| Problem::unknown("expectation", label))
}

/// Returns the kind of endpoint with a label.
pub(crate) fn endpoint_kind(label: &str) -> Result<EndpointKind, Problem> {
    let kinds = [EndpointKind::Primary, EndpointKind::Reader];
    let kind = kinds.into_iter().find(|kind| kind.label() == label);
    kind.ok_or_else(|| Problem::unknown("kind of endpoint", label))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_header_keeps_every_property_of_a_deployment() {
        let labels = [("team".to_owned(), "a".to_owned())];
        let mut deployment =
            Deployment::new("x", DeploymentKind::Sentinel, &labels, SECOND, SECOND * 3);
        deployment.add_sentinel("s1", "10.0.0.1:26379", false);
        deployment.add("a", "10.0.0.2:6379", Some(Role::Replica));
        deployment.add_sentinel("s2", "10.0.0.3:26379", true);
        assert!(deployment.alias("a:6379", "10.0.0.2:6379"));
        deployment.discovery = Some(Discovery {
            master: "x".to_owned(),
            names: NodeNameTemplate::new("{short}").expect("a template"),
            address_map: BTreeMap::from([("a:1".to_owned(), "b:2".to_owned())]),
            ghost_after: SECOND * 600,
            forget_after: SECOND * 60,
        });
        deployment.expect = Expectations {
            replicas: Some(2),
            masters: Some(1),
            external: true,
            aof: Some(AofExpectation::None),
            unknown_role: true,
            until: Some(wall(1_795_986_113_343_189_430)),
        };
        let address = "redis.svc:6379".to_owned();
        deployment.endpoints.push(ServiceEndpoint { kind: EndpointKind::Reader, address });
        deployment.limits.nodes = 3;
        deployment.preset = Some("elasticache".to_owned());
        deployment.skipped = [OptionalCommand::ConfigGet, OptionalCommand::Cluster].into();
        // A deployment of a template gets its name and its Sentinels later.
        deployment.rename_for_master("orders", "mymaster");
        deployment.show_sentinel(topology::NodeIndex::new(0), true);
        let state = SavedState { primary: Some("a".to_owned()), ..SavedState::default() };
        let header = Header {
            rolecall: "1".to_owned(),
            deployment: Arc::new(deployment),
            restored: Some(Restored { state, downtime: SECOND * 2 }),
        };
        assert_eq!(Header::from_line(header.to_line()).expect("a header"), header);
    }
}
