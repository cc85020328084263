//! What a trace found, as a tree, and the three forms in which it is printed.
//!
//! Each step further into a network is set in further, so where switches flood each other in a loop the
//! forms would take gigabytes: each ends where it gets too long, and says so.

/// Where a form ends, bytes: more than a flood to some thousands of ports takes.
const LONGEST: usize = 32 << 20;

/// What a node says, which decides where it is printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Where a packet was output, or why it was not.
    Output,
    /// A change that can be seen from outside.
    Modify,
    /// An action, or a note about one.
    Action,
    /// What went wrong, or what was assumed.
    Error,
    /// A pipeline that was entered.
    Pipeline,
    /// A table that was looked up.
    Table,
    /// A packet made from another.
    Transformation,
}

/// A node by its place in the tree; the root, which is never printed, is zero.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Node(usize);

#[derive(Debug)]
struct Entry {
    kind: Kind,
    text: String,
    always_indent: bool,
    below: Vec<Node>,
}

/// The tree.
#[derive(Debug)]
pub struct Tree(Vec<Entry>);

impl Default for Tree {
    fn default() -> Self {
        let (text, below) = (String::new(), Vec::new());
        Self(vec![Entry { kind: Kind::Pipeline, text, always_indent: false, below }])
    }
}

impl Tree {
    /// Adds a node behind the others below `parent`.
    pub fn add(&mut self, parent: Node, kind: Kind, text: impl Into<String>) -> Node {
        let node = Node(self.0.len());
        let (text, below) = (text.into(), Vec::new());
        self.0.push(Entry { kind, text, always_indent: false, below });
        self.0[parent.0].below.push(node);
        node
    }

    /// Sets off what is below a node even if the node is the last of its siblings.
    pub fn always_indent(&mut self, node: Node, indent: bool) {
        self.0[node.0].always_indent = indent;
    }

    /// The detailed, the summary and the minimal form, those that are wanted.
    pub fn text(&self, wanted: [bool; 3]) -> String {
        let form = |title, lines: fn(&Self) -> String| (title, lines);
        let forms = [
            form("# Detailed trace.\n", Self::detailed),
            form("# Summary trace.\n", Self::summary),
            form("# Minimal trace.\n", Self::minimal),
        ];
        let several = wanted.iter().filter(|wanted| **wanted).count() > 1;
        let mut out = String::new();
        for (_, (title, lines)) in wanted.iter().zip(forms).filter(|(wanted, _)| **wanted) {
            out.push_str(if several { title } else { "" });
            let form = lines(self);
            out.push_str(&form);
            if is_full(&form) {
                out.push_str(&format!(
                    "*** more than {} MiB: the rest is left out\n",
                    LONGEST >> 20
                ));
            }
        }
        out
    }

    /// Table by table.
    fn detailed(&self) -> String {
        let mut out = String::new();
        self.details(Node::default(), 0, &mut out);
        out
    }

    /// Without tables.
    fn summary(&self) -> String {
        let mut out = String::new();
        self.lines(Node::default(), 0, &[Kind::Modify, Kind::Table], &mut out);
        out
    }

    /// What can be seen from outside.
    fn minimal(&self) -> String {
        let mut out = String::new();
        let hidden = [Kind::Action, Kind::Pipeline, Kind::Table, Kind::Output];
        self.lines(Node::default(), 0, &hidden, &mut out);
        out
    }

    fn details(&self, parent: Node, level: usize, out: &mut String) {
        let below = &self.0[parent.0].below;
        for (index, node) in below.iter().enumerate() {
            let entry = &self.0[node.0];
            if is_full(out) {
                return;
            }
            if entry.kind == Kind::Modify {
                continue;
            }
            let title = matches!(entry.kind, Kind::Pipeline | Kind::Transformation);
            let leaf = matches!(entry.kind, Kind::Output | Kind::Action | Kind::Error);
            let more = usize::from(index + 1 < below.len() || entry.always_indent || leaf);
            let indent = " ".repeat((level + more) * 4);
            if title {
                out.push('\n');
            }
            out.push_str(&format!("{indent}{}\n", entry.text));
            if title {
                out.push_str(&format!("{indent}{}\n", "-".repeat(entry.text.len())));
            }
            self.details(*node, level + more + more, out);
        }
    }

    /// The nodes below one, those of hidden kinds replaced by what is below them.
    fn shown(&self, parent: Node, hidden: &[Kind], to: &mut Vec<Node>) {
        for node in &self.0[parent.0].below {
            if hidden.contains(&self.0[node.0].kind) {
                self.shown(*node, hidden, to);
            } else {
                to.push(*node);
            }
        }
    }

    fn lines(&self, parent: Node, level: usize, hidden: &[Kind], out: &mut String) {
        let mut nodes = Vec::new();
        self.shown(parent, hidden, &mut nodes);
        for node in nodes {
            let entry = &self.0[node.0];
            if is_full(out) {
                return;
            }
            if entry.kind == Kind::Action && entry.text.starts_with("next(") {
                continue;
            }
            let indent = " ".repeat(level * 4);
            out.push_str(&format!("{indent}{}", entry.text));
            let mut children = Vec::new();
            self.shown(node, hidden, &mut children);
            if !children.is_empty() {
                out.push_str(" {\n");
                self.lines(node, level + 1, hidden, out);
                if is_full(out) {
                    return;
                }
                out.push_str(&indent);
                out.push('}');
            }
            out.push_str(if entry.kind == Kind::Action { "\n" } else { ";\n" });
        }
    }
}

fn is_full(form: &str) -> bool {
    form.len() >= LONGEST
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet that switches pass round, with a copy at each.
    #[test]
    fn a_form_that_gets_too_long_ends_and_says_so() {
        const DEEP: usize = 1_000;
        const COPIES: usize = 50_000;
        let mut tree = Tree::default();
        let mut last = Node::default();
        for _ in 0..DEEP {
            let next = tree.add(last, Kind::Pipeline, "ingress(dp=\"sw\", inport=\"patch\")");
            tree.add(last, Kind::Error, "*** one");
            last = next;
        }
        for _ in 0..COPIES {
            tree.add(last, Kind::Action, "next;");
        }
        let line = "*** more than 32 MiB: the rest is left out\n";
        for (form, is_long) in [(0, true), (1, true), (2, false)] {
            let text = tree.text(std::array::from_fn(|at| at == form));
            assert!(text.len() < LONGEST + (1 << 20), "{} bytes", text.len());
            assert_eq!(text.ends_with(line), is_long);
        }
        assert_eq!(tree.text([true; 3]).matches(line).count(), 2);
    }
}
