//! The CONFIG parameters that were read from a server. Only named ones are ever asked for, and never a secret.

use std::collections::BTreeMap;

use crate::Reply;

/// Values of CONFIG parameters, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    values: BTreeMap<Box<str>, Box<str>>,
}

impl Config {
    /// The longest value that is kept, bytes. `save` and `client-output-buffer-limit` are the longest real ones.
    const MAX_VALUE: usize = 1024;

    /// Takes up a reply to `CONFIG GET`: names and values in turn. A server that does not know a parameter answers with none.
    pub fn add(&mut self, reply: &Reply) {
        let Reply::Array(items) = reply else { return };
        for pair in items.chunks_exact(2) {
            if let (Some(name), Some(value)) = (pair[0].text(), pair[1].text())
                && value.len() <= Self::MAX_VALUE
            {
                self.values.insert(name.into(), value.into());
            }
        }
    }

    /// The value of a parameter, if it was read.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|value| &**value)
    }

    /// The value of a parameter that is a number.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.get(name)?.parse().ok().filter(|number: &f64| number.is_finite())
    }

    /// The value of a parameter that is `yes` or `no`.
    pub fn flag(&self, name: &str) -> Option<bool> {
        match self.get(name)? {
            "yes" => Some(true),
            "no" => Some(false),
            _ => None,
        }
    }
}
