//! The configuration as it is used, written out in the form of the file. No secret is in it: only where each comes from.

use std::time::Duration;

use client::{Address, Credentials, Endpoint, Password, TlsSettings};
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, Value, value};
use topology::{DeploymentKind, Discovery, NodeKind};

use crate::{DeploymentSettings, Found, Settings};

pub(crate) fn write(settings: &Settings) -> String {
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
    document["web"] = Item::Table(web);
    let mut log = Table::new();
    log["level"] = value(settings.log_level.label());
    log["format"] = value(settings.log_format.label());
    document["log"] = Item::Table(log);
    let mut deployments = ArrayOfTables::new();
    settings.deployments.iter().for_each(|settings| deployments.push(deployment(settings)));
    document["deployment"] = Item::ArrayOfTables(deployments);
    document.to_string()
}

fn deployment(settings: &DeploymentSettings) -> Table {
    let deployment = &settings.deployment;
    let mut table = Table::new();
    table["name"] = value(&deployment.name);
    let labels: InlineTable =
        deployment.labels.iter().skip(1).map(|(name, label)| (name, Value::from(label))).collect();
    if !labels.is_empty() {
        table["labels"] = value(labels);
    }
    let checked =
        settings.checked.iter().map(|(_, endpoint)| endpoint).filter(|_| settings.found.is_none());
    let listed_tls = settings
        .endpoints
        .iter()
        .chain(checked)
        .find_map(|endpoint| Some(endpoint.tls.as_ref()?.settings()));
    if let (DeploymentKind::Cluster, Some(found), Some(discovery)) =
        (deployment.kind, &settings.found, &deployment.discovery)
    {
        table["cluster"] = value(nodes(settings));
        of_found(found, discovery, &mut table);
        table.remove("scheme");
    } else if let (DeploymentKind::Dns, Some(found), Some(discovery)) =
        (deployment.kind, &settings.found, &deployment.discovery)
    {
        let scheme = if found.tls.is_some() { "rediss" } else { "redis" };
        let names = found
            .names
            .iter()
            .map(|(host, port)| format!("{scheme}://{}", topology::address(host, *port)));
        table["dns"] = value(names.collect::<Array>());
        of_found(found, discovery, &mut table);
        table.remove("scheme");
        table.remove("ghost_after");
    } else if let (Some(found), Some(discovery)) = (&settings.found, &deployment.discovery) {
        table["sentinels"] = value(nodes(settings));
        if !settings.of_every_master() {
            table["master_name"] = value(&discovery.master);
        }
        if let Some(settings) = listed_tls {
            table["sentinel_tls"] = value(tls(settings));
        }
        of_found(found, discovery, &mut table);
    } else {
        table["nodes"] = value(nodes(settings));
        if let Some(settings) = listed_tls {
            table["tls"] = value(tls(settings));
        }
    }
    table["interval"] = time(deployment.interval);
    table["deadline"] = time(settings.deadline);
    table["down_after"] = time(deployment.down_after);
    let cadences = settings.cadences;
    let mut cadence = InlineTable::new();
    for (name, every) in [
        ("commands", Some(cadences.commands)),
        ("slowlog", Some(cadences.slowlog)),
        ("config", Some(cadences.config)),
        ("latencystats", cadences.latencystats),
        ("dns", Some(cadences.dns).filter(|_| deployment.kind == DeploymentKind::Dns)),
    ] {
        if let Some(every) = every {
            cadence.insert(name, humantime::format_duration(every).to_string().into());
        }
    }
    table["cadence"] = value(cadence);
    let assumed: InlineTable =
        settings.assumed.iter().map(|(name, text)| (name, Value::from(text))).collect();
    if !assumed.is_empty() {
        table["assume"] = value(assumed);
    }
    let mut expect = InlineTable::new();
    if let Some(replicas) = deployment.expect.replicas {
        expect.insert("replicas", i64::from(replicas).into());
    }
    if let Some(masters) = deployment.expect.masters {
        expect.insert("masters", i64::from(masters).into());
    }
    if deployment.expect.external {
        expect.insert("primary", "external".into());
    }
    if let Some(aof) = deployment.expect.aof {
        expect.insert("aof", aof.label().into());
    }
    if let Some(until) = deployment.expect.until {
        expect.insert("until", humantime::format_rfc3339_seconds(until).to_string().into());
    }
    if !expect.is_empty() {
        table["expect"] = value(expect);
    }
    if !settings.checked.is_empty() {
        table["endpoints"] = value(endpoints(settings));
    }
    let mut others: InlineTable = deployment
        .other_addresses()
        .into_iter()
        .map(|(address, node)| (address, Value::from(node)))
        .collect();
    others.extend(
        deployment
            .discovery
            .iter()
            .flat_map(|discovery| &discovery.address_map)
            .map(|(said, real)| (said, Value::from(real))),
    );
    if !others.is_empty() {
        table["address_map"] = value(others);
    }
    table
}

/// The nodes that are listed, or the Sentinels.
fn nodes(settings: &DeploymentSettings) -> Array {
    let nodes = settings.deployment.nodes.iter().zip(&settings.endpoints).enumerate().map(
        |(place, (node, endpoint))| {
            let mut written = InlineTable::new();
            written.insert("url", url(endpoint).into());
            written.insert("name", node.name.clone().into());
            if let Some(role) = node.expected_role.filter(|_| node.kind == NodeKind::Data) {
                written.insert("role", role.label().into());
            }
            if let Some(Some(directory)) = settings.data_dirs.get(place) {
                written.insert("data_dir", directory.display().to_string().into());
            }
            credentials(&endpoint.credentials, &mut |key, text| {
                drop(written.insert(key, text.into()));
            });
            Value::from(written)
        },
    );
    let mut nodes: Array = nodes.collect();
    nodes.iter_mut().for_each(|node| node.decor_mut().set_prefix("\n  "));
    nodes.set_trailing("\n");
    nodes
}

/// The endpoints that applications use.
fn endpoints(settings: &DeploymentSettings) -> InlineTable {
    let endpoints = settings.checked.iter().map(|(kind, endpoint)| {
        let mut written = InlineTable::new();
        written.insert("url", url(endpoint).into());
        credentials(&endpoint.credentials, &mut |key, text| drop(written.insert(key, text.into())));
        (kind.label(), Value::from(written))
    });
    endpoints.collect()
}

/// How nodes are found and reached that Sentinels name.
fn of_found(found: &Found, discovery: &Discovery, table: &mut Table) {
    credentials(&found.credentials, &mut |key, text| table[key] = value(text));
    table["scheme"] = value(if found.tls.is_some() { "rediss" } else { "redis" });
    if let Some(profile) = &found.tls {
        table["tls"] = value(tls(profile.settings()));
    }
    table["node_name"] = value(discovery.names.to_string());
    if !found.trusted.is_empty() {
        table["trust"] = value(found.trusted.iter().collect::<Array>());
    }
    table["ghost_after"] = time(discovery.ghost_after);
    table["forget_after"] = time(discovery.forget_after);
}

fn url(endpoint: &Endpoint) -> String {
    match (&endpoint.address, &endpoint.tls) {
        (Address::Unix(path), _) => format!("unix://{}", path.display()),
        (address, None) => format!("redis://{address}"),
        (address, Some(_)) => format!("rediss://{address}"),
    }
}

fn tls(settings: &TlsSettings) -> InlineTable {
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

/// Who we are, without the password itself.
fn credentials(credentials: &Credentials, write: &mut dyn FnMut(&str, String)) {
    if let Some(username) = &credentials.username {
        write("username", username.clone());
    }
    match &credentials.password {
        Some(Password::Inline(_)) => write("password", "<redacted>".to_owned()),
        Some(Password::File(path)) => write("password_file", path.display().to_string()),
        None => {}
    }
}

fn time(time: Duration) -> Item {
    value(humantime::format_duration(time).to_string())
}
