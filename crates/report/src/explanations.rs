//! Explanations of the placeholders that remain in the commands of runbooks.

use crate::placeholders::rest_after;

/// Placeholders that belong together, with their meaning.
struct Explanation {
    placeholders: &'static [&'static str],
    meaning: &'static str,
}

const fn explanation(placeholders: &'static [&'static str], meaning: &'static str) -> Explanation {
    Explanation { placeholders, meaning }
}

/// All placeholders of runbooks. `alerts/README.md` has the same list.
const EXPLANATIONS: [Explanation; 32] = [
    explanation(&["$HOST", "$PORT", "$NODE"], "the node that the finding or the alert is about"),
    explanation(&["$PRIMARY_HOST", "$PRIMARY_PORT"], "the primary"),
    explanation(
        &["$FORMER_PRIMARY_HOST", "$FORMER_PRIMARY_PORT"],
        "the node that was primary last, see `last primary` in the finding",
    ),
    explanation(&["$MASTER_HOST", "$MASTER_PORT"], "the node from which the replica replicates"),
    explanation(&["$REPLICA_HOST", "$REPLICA_PORT"], "a replica of the affected shard"),
    explanation(
        &["$BEST_HOST", "$BEST_PORT"],
        "the replica with the highest slave_repl_offset among those with one master_replid",
    ),
    explanation(&["$OTHER_HOST", "$OTHER_PORT"], "each other node that the text names"),
    explanation(&["$OLD_HOST", "$OLD_PORT"], "the server to which the endpoint leads now"),
    explanation(&["$NEW_HOST", "$NEW_PORT"], "the new node"),
    explanation(&["$ANY_HOST", "$ANY_PORT"], "each data node, one after the other"),
    explanation(&["$ANY_NAME"], "the host name of this data node"),
    explanation(&["$GHOST_HOST", "$GHOST_PORT"], "the dead node that Sentinels still list"),
    explanation(
        &["$SOURCE_HOST", "$SOURCE_PORT"],
        "the master that migrates the slot away, `migrating` in the finding",
    ),
    explanation(
        &["$TARGET_HOST", "$TARGET_PORT"],
        "the master that imports the slot, `importing` in the finding",
    ),
    explanation(&["$SENTINEL_HOST", "$SENTINEL_PORT"], "a Sentinel"),
    explanation(&["$MASTER_NAME"], "the name of the master in the Sentinels"),
    explanation(&["$ROLECALL_HOST"], "the machine of Rolecall"),
    explanation(&["$PROMETHEUS_HOST"], "the machine of Prometheus"),
    explanation(&["$ALERTMANAGER_HOST"], "the machine of Alertmanager"),
    explanation(&["$MASTER_ID", "$DEAD_ID"], "the ID of the node in CLUSTER NODES"),
    explanation(&["$SLOT"], "the number of the slot"),
    explanation(&["$FIRST", "$LAST"], "the first and the last slot of the range"),
    explanation(&["$BACKUP"], "the RDB file that has the former data"),
    explanation(&["$DIR"], "the data directory, from CONFIG GET dir"),
    explanation(&["$CLIENT_ID", "$ID"], "the ID of the client in CLIENT LIST"),
    explanation(&["$ROLECALL_USER"], "the ACL user of Rolecall, `username` in its configuration"),
    explanation(
        &["$USERNAME", "$APP_USER", "$MASTERUSER"],
        "the ACL user of the application or the replica",
    ),
    explanation(&["$COMMAND"], "the command that the user may run"),
    explanation(&["$PASSWORD"], "the new password"),
    explanation(&["$SHA256_OF_OLD_PASSWORD"], "the SHA-256 of the old password, in hexadecimal"),
    explanation(&["$ADMIN_USER"], "an ACL user that may run the command"),
    explanation(
        &["$REDIS_PASSWORD"],
        "the password of the user; read -rs REDIS_PASSWORD sets it and keeps it out of the history",
    ),
];

/// Returns the meaning of each placeholder that a text contains: placeholders and meaning.
pub(crate) fn explanations(text: &str) -> Vec<(String, &'static str)> {
    let contained = |explanation: &Explanation| {
        let placeholders = explanation.placeholders.iter().copied();
        let found: Vec<_> = placeholders.filter(|name| contains(text, name)).collect();
        (!found.is_empty()).then(|| (found.join(", "), explanation.meaning))
    };
    EXPLANATIONS.iter().filter_map(contained).collect()
}

fn contains(text: &str, placeholder: &str) -> bool {
    text.match_indices(placeholder).any(|(at, _)| rest_after(&text[at..], placeholder).is_some())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Returns the placeholders of a text: a dollar sign and capitals.
    fn placeholders(text: &str) -> BTreeSet<&str> {
        let word = |at: usize| {
            let name = &text[at + 1..];
            let is_end = |letter: char| !letter.is_ascii_uppercase() && letter != '_';
            let end = name.find(|letter| is_end(letter) && !char::is_ascii_digit(&letter));
            &text[at..=at + end.unwrap_or(name.len())]
        };
        let words = text.match_indices('$').map(|(at, _)| word(at));
        words.filter(|word| word.len() > 1).collect()
    }

    #[test]
    fn every_placeholder_of_a_runbook_is_explained() {
        let known: BTreeSet<&str> =
            EXPLANATIONS.iter().flat_map(|known| known.placeholders.iter().copied()).collect();
        let mut used = BTreeSet::from(["$ADMIN_USER", "$REDIS_PASSWORD", "$NODE"]);
        for (_, runbook) in crate::runbooks() {
            used.extend(placeholders(runbook.text));
        }
        assert!(used.len() > 40, "{used:?}");
        assert_eq!(used, known, "placeholders of runbooks, and those that are explained");
    }

    #[test]
    fn the_list_in_alerts_readme_is_the_same() {
        let readme = include_str!("../../../alerts/README.md");
        for Explanation { placeholders, meaning } in &EXPLANATIONS {
            let names: Vec<_> = placeholders.iter().map(|name| format!("`{name}`")).collect();
            let row = format!("| {} | {meaning} |", names.join(", "));
            assert!(readme.contains(&row), "missing in alerts/README.md: {row}");
        }
    }

    #[test]
    fn only_contained_placeholders_are_explained() {
        assert_eq!(explanations("redis-cli -h a -p 1 info $HOSTNAME"), []);
        let meanings = explanations("-h $PRIMARY_HOST -p $PRIMARY_PORT $MASTER_NAME");
        let names: Vec<_> = meanings.iter().map(|(names, _)| names.as_str()).collect();
        assert_eq!(names, ["$PRIMARY_HOST, $PRIMARY_PORT", "$MASTER_NAME"]);
    }
}
