//! From rows of the Southbound DB to the tables that the workers run.
