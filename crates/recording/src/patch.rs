//! Differences between two JSON values, as JSON Merge Patch (RFC 7396) defines them.

use serde_json::{Map, Value};

/// Returns the patch that turns one value into another; `None` if they are equal.
///
/// Neither value may contain null within an object: a patch cannot express it.
pub(crate) fn difference(before: &Value, after: &Value) -> Option<Value> {
    match (before, after) {
        _ if before == after => None,
        (Value::Object(before), Value::Object(after)) => {
            let mut patch = Map::new();
            for name in before.keys().filter(|name| !after.contains_key(*name)) {
                patch.insert(name.clone(), Value::Null);
            }
            for (name, value) in after {
                let known = before.get(name).unwrap_or(&Value::Null);
                if let Some(difference) = difference(known, value) {
                    patch.insert(name.clone(), difference);
                }
            }
            Some(Value::Object(patch))
        }
        _ => Some(after.clone()),
    }
}

/// Applies a patch to an object.
pub(crate) fn apply(target: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (name, value) in patch {
        match value {
            Value::Null => {
                target.remove(&name);
            }
            Value::Object(patch) => {
                let known = target.entry(name).or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(known) = known {
                    apply(known, patch);
                } else {
                    let mut new = Map::new();
                    apply(&mut new, patch);
                    *known = Value::Object(new);
                }
            }
            value => {
                target.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(object) => object,
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn a_patch_has_changed_and_removed_names() {
        let before = json!({"a": "1", "b": "2", "c": {"d": 1, "e": 2}});
        let after = json!({"a": "1", "b": ["3"], "c": {"d": 1}});
        let patch = difference(&before, &after).expect("a difference");
        assert_eq!(patch, json!({"b": ["3"], "c": {"e": null}}));
        assert_eq!(difference(&after, &after), None);
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            (0..3).prop_map(Value::from),
            "[ab]?".prop_map(Value::from),
            prop::collection::vec(0..2, 0..2).prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 3, |inner| {
            prop::collection::btree_map("[abc]", inner, 0..3)
                .prop_map(|entries| Value::Object(entries.into_iter().collect()))
        })
    }

    proptest! {
        #[test]
        fn a_difference_applied_gives_the_later_value(before in values(), after in values()) {
            let mut target = object(json!({"value": before}));
            if let Some(patch) = difference(&json!({"value": before}), &json!({"value": after})) {
                apply(&mut target, object(patch));
            }
            prop_assert_eq!(target.get("value"), Some(&after));
        }
    }
}
