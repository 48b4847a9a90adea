//! Reduction of a history with a fault to the operations that it needs.

use crate::history::History;
use crate::operations::Step;
use crate::oracle::Fault;

/// The largest number of histories that one reduction runs.
const MAX_RUNS: usize = 1000;

/// A fault with the history that shows it.
pub(crate) struct Finding {
    pub(crate) seed: u64,
    pub(crate) fault: Fault,
    pub(crate) steps: Vec<Step>,
}

impl Finding {
    /// Removes operations as long as the same rule fails.
    pub(crate) fn shrink(self) -> Self {
        let Finding { seed, fault, steps } = self;
        let rule = fault.rule;
        let (steps, fault) = reduce(steps, fault, |steps| {
            History::of(seed, steps).run().filter(|fault| fault.rule == rule)
        });
        Finding { seed, fault, steps }
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

/// Removes elements of a list as long as `run` returns a result: halves first, single ones last.
/// Returns the remaining list and its result.
fn reduce<T: Clone, R>(
    mut list: Vec<T>,
    mut result: R,
    run: impl Fn(&[T]) -> Option<R>,
) -> (Vec<T>, R) {
    let mut runs = 0;
    let mut size = list.len().div_ceil(2);
    while size > 0 && runs < MAX_RUNS {
        let mut begin = 0;
        let mut has_shrunk = false;
        while begin < list.len() && runs < MAX_RUNS {
            let end = (begin + size).min(list.len());
            let rest = [&list[..begin], &list[end..]].concat();
            runs += 1;
            match run(&rest) {
                Some(found) => {
                    (result, list) = (found, rest);
                    has_shrunk = true;
                }
                None => begin = end,
            }
        }
        size = if size == 1 && has_shrunk { 1 } else { size / 2 };
    }
    (list, result)
}

#[test]
fn a_list_is_reduced_to_what_is_needed() {
    let needs = |list: &[u32]| (list.contains(&3) && list.contains(&17)).then_some(list.len());
    assert_eq!(reduce((0..20).collect(), 20, needs), (vec![3, 17], 2));
}
