//! The effective configuration as TOML. Contains no secret, only the source of each.

use std::time::Duration;

use client::{Address, Credentials, Endpoint, Password, TlsSettings};
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, Value, value};
use topology::{Deployment, DeploymentKind, Discovery, Limits, NodeKind};

use crate::{Cadences, DeploymentSettings, DiscoverySettings, Settings};

pub(crate) fn to_toml(settings: &Settings) -> String {
    let mut document = DocumentMut::new();
    if let Some(path) = &settings.state_file {
        document["state_file"] = value(path.display().to_string());
    }
    if let Some(part) = &settings.part {
        document["part"] = value(part);
    }
    let mut web = Table::new();
    web["listen_address"] = value(&settings.listen_address);
    if let Some(url) = &settings.external_url {
        web["external_url"] = value(url);
    }
    web["max_connections_per_address"] = value(i64::from(settings.max_connections_per_address));
    document["web"] = Item::Table(web);
    let mut metrics = Table::new();
    metrics["set"] = value(settings.metric_set.label());
    metrics["names"] = value(settings.metric_names.label());
    document["metrics"] = Item::Table(metrics);
    let mut log = Table::new();
    log["level"] = value(settings.log_level.label());
    log["format"] = value(settings.log_format.label());
    document["log"] = Item::Table(log);
    let mut limits = Table::new();
    limits["connections_per_second"] = value(i64::from(settings.connect_limits.per_second));
    limits["connections_per_host"] = value(i64::from(settings.connect_limits.per_host));
    document["limits"] = Item::Table(limits);
    let mut deployments = ArrayOfTables::new();
    settings.deployments.iter().for_each(|settings| deployments.push(deployment_table(settings)));
    document["deployment"] = Item::ArrayOfTables(deployments);
    document.to_string()
}

fn deployment_table(settings: &DeploymentSettings) -> Table {
    let deployment = &settings.deployment;
    let mut table = Table::new();
    table["name"] = value(&deployment.name);
    // The first label is `deployment`.
    let labels: InlineTable =
        deployment.labels.iter().skip(1).map(|(name, label)| (name, Value::from(label))).collect();
    insert_unless_empty(&mut table, "labels", labels);
    insert_servers(&mut table, settings);
    if let Some(preset) = &deployment.preset {
        table["preset"] = value(preset);
    }
    if deployment.preset.is_some() || !deployment.skipped.is_empty() {
        let skipped = deployment.skipped.iter().map(|command| command.label());
        table["skip_commands"] = value(skipped.collect::<Array>());
    }
    table["interval"] = duration(deployment.interval);
    table["deadline"] = duration(settings.deadline);
    table["down_after"] = duration(deployment.down_after);
    table["cadence"] = value(cadence_table(settings.cadences, deployment.kind));
    table["limits"] = value(limits_table(deployment.limits, deployment.kind));
    let assumed: InlineTable =
        settings.assumed.iter().map(|(name, text)| (name, Value::from(text))).collect();
    insert_unless_empty(&mut table, "assume", assumed);
    insert_unless_empty(&mut table, "expect", expect_table(deployment));
    insert_unless_empty(&mut table, "endpoints", endpoints_table(settings));
    insert_unless_empty(&mut table, "address_map", address_map(settings));
    table
}

fn insert_unless_empty(table: &mut Table, key: &str, inline: InlineTable) {
    if !inline.is_empty() {
        table[key] = value(inline);
    }
}

/// Writes the configured servers, their TLS profile and the access to discovered nodes.
fn insert_servers(table: &mut Table, settings: &DeploymentSettings) {
    let deployment = &settings.deployment;
    let (Some(access), Some(discovery)) = (&settings.discovery, &deployment.discovery) else {
        table["nodes"] = value(server_list(settings));
        let service_endpoints = settings.service_endpoints.iter().map(|service| &service.endpoint);
        insert_first_tls(table, "tls", settings.endpoints.iter().chain(service_endpoints));
        return;
    };
    match deployment.kind {
        DeploymentKind::Cluster => {
            table["cluster"] = value(server_list(settings));
        }
        DeploymentKind::Dns => {
            table["dns"] = value(dns_urls(access));
        }
        DeploymentKind::Sentinel | DeploymentKind::Static => {
            table["sentinels"] = value(server_list(settings));
            if !settings.covers_all_masters() {
                table["master_name"] = value(&discovery.master);
            }
            insert_first_tls(table, "sentinel_tls", settings.endpoints.iter());
        }
    }
    insert_discovery(table, access, discovery, deployment.kind);
}

/// Writes the TLS profile of the first endpoint that has one. All of them have the same.
fn insert_first_tls<'a>(
    table: &mut Table,
    key: &str,
    mut endpoints: impl Iterator<Item = &'a Endpoint>,
) {
    if let Some(profile) = endpoints.find_map(|endpoint| endpoint.tls.as_ref()) {
        table[key] = value(tls_table(profile.settings()));
    }
}

/// Writes the access to discovered nodes.
fn insert_discovery(
    table: &mut Table,
    access: &DiscoverySettings,
    discovery: &Discovery,
    kind: DeploymentKind,
) {
    write_credentials(&access.credentials, &mut |key, text| table[key] = value(text));
    if kind == DeploymentKind::Sentinel {
        table["scheme"] = value(scheme(access));
    }
    if let Some(profile) = &access.tls {
        table["tls"] = value(tls_table(profile.settings()));
    }
    table["node_name"] = value(discovery.names.to_string());
    if !access.trusted.is_empty() {
        table["trust"] = value(access.trusted.iter().collect::<Array>());
    }
    if kind != DeploymentKind::Dns {
        table["ghost_after"] = duration(discovery.ghost_after);
    }
    table["forget_after"] = duration(discovery.forget_after);
}

fn dns_urls(access: &DiscoverySettings) -> Array {
    let scheme = scheme(access);
    let url =
        |name: &crate::DnsName| format!("{scheme}://{}", topology::address(&name.host, name.port));
    access.names.iter().map(url).collect()
}

fn scheme(access: &DiscoverySettings) -> &'static str {
    if access.tls.is_some() { "rediss" } else { "redis" }
}

/// Returns the configured nodes or Sentinels.
fn server_list(settings: &DeploymentSettings) -> Array {
    let servers = settings.deployment.nodes.values().zip(&settings.endpoints).enumerate().map(
        |(index, (node, endpoint))| {
            let mut table = InlineTable::new();
            table.insert("url", url_of(endpoint).into());
            table.insert("name", node.name.clone().into());
            if let Some(role) = node.expected_role.filter(|_| node.kind == NodeKind::Data) {
                table.insert("role", role.label().into());
            }
            if let Some(Some(directory)) = settings.data_dirs.get(index) {
                table.insert("data_dir", directory.display().to_string().into());
            }
            write_credentials(&endpoint.credentials, &mut |key, text| {
                drop(table.insert(key, text.into()));
            });
            Value::from(table)
        },
    );
    let mut servers: Array = servers.collect();
    servers.iter_mut().for_each(|server| server.decor_mut().set_prefix("\n  "));
    servers.set_trailing("\n");
    servers
}

fn cadence_table(cadences: Cadences, kind: DeploymentKind) -> InlineTable {
    let intervals = [
        ("commands", Some(cadences.commands)),
        ("slowlog", Some(cadences.slowlog)),
        ("config", Some(cadences.config)),
        ("latencystats", cadences.latencystats),
        ("dns", Some(cadences.dns).filter(|_| kind == DeploymentKind::Dns)),
    ];
    let text = |interval| Value::from(humantime::format_duration(interval).to_string());
    intervals.into_iter().filter_map(|(key, interval)| Some((key, text(interval?)))).collect()
}

fn limits_table(limits: Limits, kind: DeploymentKind) -> InlineTable {
    let is_discovered = kind != DeploymentKind::Static;
    let limits = [
        ("nodes", limits.nodes, is_discovered),
        ("masters", limits.masters, kind == DeploymentKind::Sentinel),
        ("group_nodes", limits.group_nodes, kind == DeploymentKind::Sentinel),
        ("connections", limits.connections, is_discovered),
        ("label_values", limits.label_values, true),
    ];
    let number = |limit| Value::from(i64::try_from(limit).unwrap_or(i64::MAX));
    let valid = limits.into_iter().filter(|(_, _, is_valid)| *is_valid);
    valid.map(|(key, limit, _)| (key, number(limit))).collect()
}

/// Returns the expectations. A preset decides the default of `unknown_role`, so its value is
/// written then.
fn expect_table(deployment: &Deployment) -> InlineTable {
    let expect = deployment.expect;
    let unknown_role = (deployment.preset.is_some() || expect.unknown_role)
        .then(|| Value::from(expect.unknown_role));
    let count = |count: u32| Value::from(i64::from(count));
    let until = |time| Value::from(humantime::format_rfc3339_seconds(time).to_string());
    let values = [
        ("replicas", expect.replicas.map(count)),
        ("masters", expect.masters.map(count)),
        ("primary", expect.external.then(|| Value::from("external"))),
        ("aof", expect.aof.map(|aof| Value::from(aof.label()))),
        ("unknown_role", unknown_role),
        ("until", expect.until.map(until)),
    ];
    values.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

fn endpoints_table(settings: &DeploymentSettings) -> InlineTable {
    let endpoints = settings.service_endpoints.iter().map(|service| {
        let mut table = InlineTable::new();
        table.insert("url", url_of(&service.endpoint).into());
        write_credentials(&service.endpoint.credentials, &mut |key, text| {
            drop(table.insert(key, text.into()));
        });
        (service.kind.label(), Value::from(table))
    });
    endpoints.collect()
}

/// Returns `address_map` and the aliases of nodes.
fn address_map(settings: &DeploymentSettings) -> InlineTable {
    let deployment = &settings.deployment;
    let configured = deployment.other_addresses().into_iter();
    let discovered = deployment.discovery.iter().flat_map(|discovery| &discovery.address_map);
    let discovered = discovered.map(|(other, known)| (other.as_str(), known.as_str()));
    configured.chain(discovered).map(|(other, known)| (other, Value::from(known))).collect()
}

fn url_of(endpoint: &Endpoint) -> String {
    match (&endpoint.address, &endpoint.tls) {
        (Address::Unix(path), _) => format!("unix://{}", path.display()),
        (address, None) => format!("redis://{address}"),
        (address, Some(_)) => format!("rediss://{address}"),
    }
}

fn tls_table(settings: &TlsSettings) -> InlineTable {
    let mut table = InlineTable::new();
    let files = [
        ("ca_file", &settings.ca_file),
        ("cert_file", &settings.cert_file),
        ("key_file", &settings.key_file),
    ];
    for (key, path) in files {
        if let Some(path) = path {
            table.insert(key, path.display().to_string().into());
        }
    }
    if let Some(name) = &settings.server_name {
        table.insert("server_name", name.into());
    }
    table.insert("insecure_skip_verify", settings.insecure_skip_verify.into());
    table
}

/// Passes the keys of credentials to `write`, with a placeholder for the password.
fn write_credentials(credentials: &Credentials, write: &mut dyn FnMut(&str, String)) {
    if let Some(username) = &credentials.username {
        write("username", username.clone());
    }
    match &credentials.password {
        Some(Password::Inline(_)) => write("password", "<redacted>".to_owned()),
        Some(Password::File(path)) => write("password_file", path.display().to_string()),
        None => {}
    }
}

fn duration(duration: Duration) -> Item {
    value(humantime::format_duration(duration).to_string())
}
