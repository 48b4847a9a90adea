//! Views become what people and programs read. Pure. The only user of templates.

mod landing;

pub use landing::landing;
