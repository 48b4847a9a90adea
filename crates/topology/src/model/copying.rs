//! Copies of values that seldom change.

/// Copies a value unless the target has the same one. Most texts and lists that are kept from round
/// to round stay the same, and a copy would allocate memory.
pub(crate) fn copy_changed<T: Clone + PartialEq>(target: &mut T, source: &T) {
    if target != source {
        target.clone_from(source);
    }
}
