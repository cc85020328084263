//! The logical flow language of OVN.
//!
//! A match goes from text to an [`Expr`](expr::Expr) ([`parse::parse`]), gets its prerequisites
//! ([`Expr::annotate`](expr::Expr::annotate)) and becomes clauses over sets of values
//! ([`Annotated::clauses`](annotate::Annotated::clauses)), given a [`Resolve`](resolve::Resolve)
//! that knows ports, groups and sets. Actions go from text to a tree
//! ([`action::parse_actions`]) and add prerequisites to the match. Nothing here panics on any text.
#![forbid(unsafe_code)]

pub mod action;
pub mod annotate;
pub mod canonical;
pub mod clauses;
mod conjunction;
pub mod constant;
mod cursor;
pub mod dialect;
pub mod error;
pub mod evaluate;
pub mod expr;
pub mod field;
pub mod lexer;
pub mod parse;
mod print;
pub mod references;
pub mod resolve;
pub mod set;
pub mod symbol;
pub mod template;
mod vocabulary;
