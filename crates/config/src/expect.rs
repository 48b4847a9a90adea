//! What a deployment is expected to be.

use serde::Deserialize;
use topology::{AofExpectation, DeploymentKind, Expectations};

use crate::error::{Problem, at};
use crate::values::Date;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FileExpect {
    replicas: Option<u32>,
    masters: Option<u32>,
    primary: Option<FilePrimary>,
    aof: Option<FileAof>,
    until: Option<Date>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum FileAof {
    All,
    Replicas,
    None,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum FilePrimary {
    External,
}

impl FileExpect {
    pub(crate) fn build(self, kind: DeploymentKind) -> Result<Expectations, Problem> {
        if self.masters == Some(0) {
            return Err(at(
                ["masters"],
                "found 0, accepted is 1 or more; a site whose primary is elsewhere has primary = \"external\"",
            ));
        }
        // Where others name the primary, several masters are a fault, whatever their number.
        let named_by = match kind {
            DeploymentKind::Sentinel => Some("sentinels"),
            DeploymentKind::Cluster => Some("cluster"),
            DeploymentKind::Static | DeploymentKind::Dns => None,
        };
        if let Some(namer) = named_by.filter(|_| self.masters.is_some()) {
            return Err(at(
                ["masters"],
                format!(
                    "found with {namer}, accepted is with nodes or dns: others do not name their masters"
                ),
            ));
        }
        if self.masters.is_some() && self.primary.is_some() {
            return Err(at(
                ["masters"],
                "found primary = \"external\" too, accepted is one of them",
            ));
        }
        Ok(Expectations {
            replicas: self.replicas,
            masters: self.masters,
            external: self.primary.is_some(),
            aof: self.aof.map(FileAof::expectation),
            until: self.until.map(|date| date.0),
        })
    }
}

impl FileAof {
    fn expectation(self) -> AofExpectation {
        match self {
            FileAof::All => AofExpectation::All,
            FileAof::Replicas => AofExpectation::Replicas,
            FileAof::None => AofExpectation::None,
        }
    }
}
