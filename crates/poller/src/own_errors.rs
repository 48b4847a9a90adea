//! Errors that this exporter causes at a server, counted by error code.

use topology::OwnErrors;

/// Limit of the error codes that are counted. Servers use about 40 codes.
const MAX_CODES: usize = 256;

/// Adds errors with one code, unless there are too many codes.
pub(crate) fn add(errors: &mut OwnErrors, code: &str, count: u64) {
    if let Some(total) = errors.get_mut(code) {
        *total = total.saturating_add(count);
    } else if errors.len() < MAX_CODES {
        errors.insert(code.into(), count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_of_codes_is_limited() {
        let mut errors = OwnErrors::new();
        for code in (0..1000).chain(0..1000) {
            add(&mut errors, &format!("E{code}"), 1);
        }
        assert_eq!((errors.len(), errors["E0"], errors.get("E999")), (MAX_CODES, 2, None));
        add(&mut errors, "E0", u64::MAX);
        assert_eq!(errors["E0"], u64::MAX);
    }
}
