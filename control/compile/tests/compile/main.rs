//! The compiler against databases that a real ovn-northd wrote.

mod flows;
mod random_walk;
mod recorded;
mod situations;
mod trace;
