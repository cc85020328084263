//! The logical flow language of OVN.
#![forbid(unsafe_code)]
