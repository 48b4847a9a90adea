//! JSON documents and the text of `diagnose` for a deployment with a split brain.

mod split_brain;

use expect_test::{expect, expect_file};
use split_brain::split_brain;

#[test]
fn text_of_diagnose() {
    let text = anstream::adapter::strip_str(&report::diagnose(&[split_brain()])).to_string();
    expect_file!["diagnose.txt"].assert_eq(&text);
}

#[test]
fn document_of_findings() {
    let document =
        serde_json::to_string_pretty(&report::api::findings(&[split_brain()])).expect("a document");
    expect![[r#"
        {
          "findings": [
            {
              "kind": "RedisDown",
              "severity": "critical",
              "deployment": "orders",
              "node": "orders-2",
              "since": "1970-01-01T00:00:02.000Z",
              "summary": "A node does not answer",
              "evidence": {
                "last_role": "replica",
                "reason": "refused",
                "seconds": 3
              }
            },
            {
              "kind": "RedisReplicasMissing",
              "severity": "critical",
              "deployment": "orders",
              "caused_by": "RedisDown",
              "since": "1970-01-01T00:00:02.000Z",
              "summary": "The deployment has fewer replicas than it should have",
              "evidence": {
                "expected": 2,
                "replicas": 0
              }
            },
            {
              "kind": "RedisSplitBrain",
              "severity": "warning",
              "deployment": "orders",
              "caused_by": "RedisDown",
              "since": "1970-01-01T00:00:03.000Z",
              "summary": "Two nodes of one deployment accept writes as master",
              "evidence": {
                "by": "lineage",
                "diverging_writes": [
                  "orders-0 (at least 2)",
                  "orders-1 (at least 1)"
                ],
                "masters": [
                  "orders-0",
                  "orders-1"
                ],
                "primary": "orders-1",
                "seconds": 1,
                "stale": [
                  "orders-0"
                ],
                "taking_writes": [
                  "orders-0"
                ],
                "unreplicated_bytes": 10,
                "unreplicated_writes": 2
              }
            },
            {
              "kind": "RedisPrimaryEndpointWrong",
              "severity": "info",
              "deployment": "orders",
              "caused_by": "RedisDown",
              "since": "1970-01-01T00:00:04.000Z",
              "summary": "An endpoint used by applications leads to the wrong server",
              "evidence": {
                "checks": 2,
                "endpoint": "primary",
                "leads_to": "orders-0",
                "primary": "orders-1",
                "role": "master"
              }
            }
          ]
        }"#]]
    .assert_eq(&document);
}

#[test]
fn document_of_events() {
    let document = report::api::events(&[split_brain()]);
    let lines: Vec<_> = document
        .events
        .iter()
        .map(|event| serde_json::to_string(event).expect("a document") + "\n")
        .collect();
    expect_file!["events.jsonl"].assert_eq(&lines.concat());
}

#[test]
fn document_of_the_topology() {
    let document =
        serde_json::to_string_pretty(&report::api::topology(&[split_brain()])).expect("a document");
    expect![[r#"
        {
          "deployments": [
            {
              "name": "orders",
              "kind": "static",
              "at": "1970-01-01T00:00:04.000Z",
              "shards": [
                {
                  "primary": "orders-1",
                  "evidence": "lineage",
                  "disputed": false,
                  "unconfirmed": false,
                  "masters": [
                    "orders-0",
                    "orders-1"
                  ],
                  "stale_masters": [
                    "orders-0"
                  ],
                  "unrelated_masters": [],
                  "split_brain": true,
                  "split_brain_seconds_total": 2.0,
                  "no_primary": false,
                  "no_primary_seconds_total": 0.0,
                  "replication_loop": false,
                  "unreplicated_writes_total": 2,
                  "unreplicated_bytes": 10,
                  "primary_changes_total": {
                    "cluster": 0,
                    "failover_command": 0,
                    "operator": 0,
                    "restart": 0,
                    "sentinel": 0,
                    "unknown": 0
                  },
                  "emptied_total": 0,
                  "dataset_replaced_total": 0,
                  "writable": true,
                  "readable": true
                }
              ],
              "endpoints": [
                {
                  "endpoint": "primary",
                  "address": "10.0.0.5:7000",
                  "up": true,
                  "role": "master",
                  "leads_to": "orders-0",
                  "correct": false
                },
                {
                  "endpoint": "reader",
                  "address": "10.0.0.5:7001",
                  "up": false,
                  "down_reason": "refused"
                }
              ],
              "nodes": [
                {
                  "name": "orders-0",
                  "address": "10.0.0.5:6379",
                  "state": "up",
                  "up": true,
                  "role": "master",
                  "diverged": false,
                  "replication_id": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                  "offset": 100,
                  "writes_refused": [],
                  "reads_refused": []
                },
                {
                  "name": "orders-1",
                  "address": "10.0.0.5:6380",
                  "state": "up",
                  "up": true,
                  "role": "master",
                  "diverged": false,
                  "replication_id": "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
                  "offset": 120,
                  "writes_refused": [],
                  "reads_refused": []
                },
                {
                  "name": "orders-2",
                  "address": "10.0.0.5:6381",
                  "state": "down",
                  "up": false,
                  "down_reason": "refused",
                  "diverged": false,
                  "writes_refused": [],
                  "reads_refused": []
                }
              ]
            }
          ]
        }"#]]
    .assert_eq(&document);
}
