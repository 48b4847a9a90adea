//! Reduction of a history with a fault to the operations that it needs.

use crate::history::History;
use crate::operations::Step;
use crate::oracle::{Fault, Rule};

/// The largest number of histories that one reduction runs.
const MAX_RUNS: usize = 1000;

/// A fault with the history that shows it.
pub(crate) struct Finding {
    pub(crate) seed: u64,
    pub(crate) fault: Fault,
    pub(crate) steps: Vec<Step>,
}

impl Finding {
    /// Removes operations as long as the same rule fails: halves first, single ones last.
    pub(crate) fn shrink(mut self) -> Self {
        let rule = self.fault.rule;
        let mut runs = 0;
        let mut size = self.steps.len().div_ceil(2);
        while size > 0 && runs < MAX_RUNS {
            let mut begin = 0;
            let mut has_shrunk = false;
            while begin < self.steps.len() && runs < MAX_RUNS {
                let end = (begin + size).min(self.steps.len());
                let steps = [&self.steps[..begin], &self.steps[end..]].concat();
                runs += 1;
                match fails(self.seed, &steps, rule) {
                    Some(fault) => {
                        (self.fault, self.steps) = (fault, steps);
                        has_shrunk = true;
                    }
                    None => begin = end,
                }
            }
            size = if size == 1 && has_shrunk { 1 } else { size / 2 };
        }
        self
    }

    /// Returns a regression test.
    pub(crate) fn test(&self) -> String {
        let Finding { seed, fault, steps } = self;
        let steps: Vec<_> = steps.iter().map(|step| format!("        {step:?},")).collect();
        let steps = steps.join("\n");
        format!(
            "// {:?} after {} s: {}\n#[test]\nfn NAME() {{\n    agree({seed}, &[\n{steps}\n    \
             ]);\n}}\n",
            fault.rule, fault.at, fault.text
        )
    }
}

fn fails(seed: u64, steps: &[Step], rule: Rule) -> Option<Fault> {
    History::of(seed, steps).run().filter(|fault| fault.rule == rule)
}
