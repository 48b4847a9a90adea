//! Equal values of several nodes, stored once.

use std::sync::{Arc, Mutex, PoisonError};

/// Values that several nodes share. Clones have the same content.
///
/// Keeps at most 256 values. A node whose value is not kept shares it with no other node.
///
/// ```
/// use std::sync::Arc;
///
/// use snapshot::Pool;
///
/// let pool = Pool::default();
/// let first = pool.share("noeviction".to_owned());
/// assert!(Arc::ptr_eq(&first, &pool.share("noeviction".to_owned())));
/// ```
#[derive(Debug)]
pub struct Pool<T: ?Sized>(Arc<Mutex<Vec<Arc<T>>>>);

impl<T: ?Sized> Pool<T> {
    const MAX_VALUES: usize = 256;

    /// Returns the value for which `is_equal` returns true. Creates it if there is none.
    pub(crate) fn find(
        &self,
        is_equal: impl Fn(&T) -> bool,
        create: impl FnOnce() -> Arc<T>,
    ) -> Arc<T> {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = values.iter().find(|value| is_equal(value)) {
            return Arc::clone(value);
        }
        // Values that no node has any more are of no use.
        values.retain(|value| Arc::strong_count(value) > 1);
        let value = create();
        if values.len() < Self::MAX_VALUES {
            values.push(Arc::clone(&value));
        }
        value
    }
}

impl<T: PartialEq> Pool<T> {
    /// Returns an equal value of another node; otherwise this one.
    pub fn share(&self, value: T) -> Arc<T> {
        let value = Arc::new(value);
        self.find(|other| *other == *value, || Arc::clone(&value))
    }
}

impl<T: ?Sized> Clone for Pool<T> {
    fn clone(&self) -> Self {
        Pool(Arc::clone(&self.0))
    }
}

impl<T: ?Sized> Default for Pool<T> {
    fn default() -> Self {
        Pool(Arc::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unused_values_are_forgotten_and_their_number_is_limited() {
        let pool = Pool::default();
        drop((0..300).map(|number| pool.share(number)).collect::<Vec<_>>());
        assert_eq!(pool.0.lock().expect("values").len(), Pool::<i32>::MAX_VALUES);
        let kept = pool.share(1000);
        assert_eq!(pool.0.lock().expect("values").len(), 1);
        assert!(Arc::ptr_eq(&kept, &pool.share(1000)));
    }
}
