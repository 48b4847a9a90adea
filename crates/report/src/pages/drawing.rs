//! The drawn topology. Arrows go the way of the data, from a master to who follows it; what they say, words say too.

use std::fmt::Write;

use maud::{Markup, html};
use topology::{DeploymentView, Upstream};

use super::forest::{Row, Stands, Tree};
use crate::api::follows;
use crate::standing::{self, Note, role};
use crate::tone::Tone;
use crate::words::{bytes, count, cut, lag};

/// How wide a box is, and how far those below it are indented.
const WIDTH: usize = 268;
const INDENT: usize = 84;

/// Height of a line of text, and the room around the lines of a box.
const LINE: usize = 17;
const PADDING: usize = 11;

/// Room between boxes, and for the title above them.
const GAP: usize = 12;
const TITLE: usize = 24;

/// Room to the right for an arrow back to the top.
const BACK: usize = 24;

/// The most characters in the lines of a box.
const NAME: usize = 27;
const WORDS: usize = 38;

/// A box with its text.
struct Drawn {
    name: String,
    role: Note,
    note: Option<Note>,
    left: usize,
    top: usize,
    height: usize,
}

/// Some of what can be drawn of a deployment, and how much there is more. `id` tells the drawings of a page apart.
pub(super) fn drawing(view: &DeploymentView, trees: &[Tree], most: usize, id: &str) -> Markup {
    let left_out = trees.len().saturating_sub(most);
    html! {
        div.drawing {
            @for (tree, number) in trees.iter().take(most).zip(0..) { (self::tree(view, tree, &format!("{id}-{number}"))) }
            @if left_out > 0 { p { (left_out) " more like these are in the table." } }
        }
    }
}

fn tree(view: &DeploymentView, tree: &Tree, id: &str) -> Markup {
    let mut bottom = TITLE;
    let drawn: Vec<_> = tree.rows.iter().map(|row| index(view, row, &mut bottom)).collect();
    let height = bottom + if tree.left_out > 0 { LINE } else { 0 };
    let width = drawn.iter().map(|drawn| drawn.left).max().unwrap_or_default()
        + WIDTH
        + if tree.back.is_some() { BACK } else { 2 };
    html! {
        svg.(tree.tone.class()) role="img" aria-labelledby={ (id) "-title " (id) "-desc" } viewBox={ "0 0 " (width) " " (height) }
            width=(width) height=(height) {
            title id={ (id) "-title" } { (tree.title) ": " (count(tree.rows.len() + tree.left_out, "node")) }
            desc id={ (id) "-desc" } { (description(view, tree, &drawn)) }
            text.title x="1" y="14" { (tree.title) }
            @for (row, drawn_row) in tree.rows.iter().zip(&drawn) {
                @if let Some(above) = row.above.and_then(|above| drawn.get(above)) { (arrow(view, row, above, drawn_row)) }
            }
            @for drawn in &drawn { (square(drawn)) }
            @if let Some(last) = tree.back.and_then(|row| drawn.get(row)) { (back(&drawn[0], last, width)) }
            @if tree.left_out > 0 { text.more x="1" y=(height - 4) { "and " (tree.left_out) " more" } }
        }
    }
}

/// Where the box of a row is, and what stands in it.
fn index(view: &DeploymentView, row: &Row, bottom: &mut usize) -> Drawn {
    let (name, role, note) = match &row.stands {
        Stands::Stranger(address) => (
            address.clone(),
            Note { tone: Tone::Bad, text: "not one of this deployment".to_owned() },
            None,
        ),
        Stands::Node(index) => {
            let node = &view.nodes[*index];
            let worst = standing::notes(node).into_iter().min_by_key(|note| note.tone);
            (node.node.name.clone(), role(view, *index), worst)
        }
    };
    let height = PADDING * 2 + LINE * if note.is_some() { 3 } else { 2 } - 6;
    let top = *bottom;
    *bottom += height + GAP;
    Drawn { name, role, note, left: row.depth * INDENT + 1, top, height }
}

fn square(drawn: &Drawn) -> Markup {
    let line = |number: usize| drawn.top + PADDING + LINE * number - 4;
    let text = drawn.left + 14;
    html! {
        g.(drawn.role.tone.class()) {
            rect.box x=(drawn.left) y=(drawn.top) width=(WIDTH) height=(drawn.height) rx="5" {}
            rect.mark x=(drawn.left) y=(drawn.top) width="5" height=(drawn.height) {}
            text.name x=(text) y=(line(1)) { (cut(&drawn.name, NAME)) }
            text.role x=(text) y=(line(2)) { (cut(&drawn.role.text, WORDS)) }
            @if let Some(note) = &drawn.note { text.role.(note.tone.class()) x=(text) y=(line(3)) { (cut(&note.text, WORDS)) } }
        }
    }
}

/// From the lower edge of a master to the left edge of who follows it, with what the link is like.
fn arrow(view: &DeploymentView, row: &Row, above: &Drawn, drawn: &Drawn) -> Markup {
    let Stands::Node(index) = row.stands else { return Markup::default() };
    let (tone, text) = link(view, index);
    let (from, trunk, to) = (above.top + above.height, above.left + 16, drawn.left);
    let middle = drawn.top + drawn.height / 2;
    html! {
        path.trunk d={ "M" (trunk) " " (from) "V" (middle) } {}
        g.(tone.class()) {
            path.link d={ "M" (trunk) " " (middle) "H" (to - 6) } {}
            path.head d={ "M" (to) " " (middle) "l-8 -4v8z" } {}
            text.lag x=(trunk + 6) y=(middle - 5) { (text) }
        }
    }
}

/// From the node that the first of a circle follows to that one.
fn back(first: &Drawn, last: &Drawn, width: usize) -> Markup {
    let (from, to) = (last.top + last.height / 2, first.top + first.height / 2);
    let (start, end) = (last.left + WIDTH, first.left + WIDTH);
    html! {
        g.bad {
            path.link d={ "M" (start) " " (from) "H" (width - 4) "V" (to) "H" (end + 8) } {}
            path.head d={ "M" (end) " " (to) "l8 -4v8z" } {}
        }
    }
}

/// What a link is like: its state, or while it stands how late the replica is.
fn link(view: &DeploymentView, index: topology::NodeIndex) -> (Tone, String) {
    let node = &view.nodes[index];
    let Some(state) = node.link.state else { return (Tone::Idle, String::new()) };
    let late = node.lag.behind.map(lag).or_else(|| node.lag.bytes.map(bytes));
    let text = late
        .filter(|_| state == topology::LinkState::Up)
        .unwrap_or_else(|| state.label().replace('_', " "));
    (standing::link(state), text)
}

/// The same in sentences.
fn description(view: &DeploymentView, tree: &Tree, drawn: &[Drawn]) -> String {
    let mut text = String::new();
    for (row, drawn) in tree.rows.iter().zip(drawn) {
        // Writing to a string does not fail.
        let _ = write!(text, "{}: {}", drawn.name, drawn.role.text);
        if let Stands::Node(index) = row.stands
            && view.nodes[index].upstream != Upstream::Nothing
        {
            let master = follows(view, &view.nodes[index]).unwrap_or_default();
            let _ = write!(text, ", follows {master}, link {}", link(view, index).1);
        }
        if let Some(note) = &drawn.note {
            let _ = write!(text, ", {}", note.text);
        }
        text += ". ";
    }
    text
}
