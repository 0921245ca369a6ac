//! All SQL of the product.
