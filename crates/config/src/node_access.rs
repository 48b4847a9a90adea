//! Access to nodes as the texts of findings describe it, without secrets.

use std::sync::Arc;

use client::{Credentials, Endpoint, Tls};
use topology::{NodeAccess, NodeIndex, TlsAccess};

use crate::DeploymentSettings;

/// Describes the access to each node in the deployment.
pub(crate) fn describe(settings: &mut DeploymentSettings) {
    let deployment = Arc::make_mut(&mut settings.deployment);
    for (index, Endpoint { credentials, tls, .. }) in settings.endpoints.iter().enumerate() {
        deployment.set_access(NodeIndex::new(index), Arc::new(access(credentials, tls.as_ref())));
    }
    if let Some(discovery) = &settings.discovery {
        let access = access(&discovery.credentials, discovery.tls.as_ref());
        deployment.discovered_access = Arc::new(access);
    }
}

fn access(credentials: &Credentials, tls: Option<&Tls>) -> NodeAccess {
    let tls = tls.map(|tls| {
        let settings = tls.settings().clone();
        TlsAccess {
            ca_file: settings.ca_file,
            cert_file: settings.cert_file,
            key_file: settings.key_file,
            server_name: settings.server_name,
            is_insecure: settings.insecure_skip_verify,
        }
    });
    let user = credentials.username.clone();
    NodeAccess { user, has_password: credentials.password.is_some(), tls }
}
