//! The drawing of the topology as SVG. Arrows point in the direction of the data, from a master to
//! its replicas. A text description has the same content.

use std::fmt::Write;

use maud::{Markup, html};
use topology::{DeploymentView, LinkState, Upstream};

use super::tree::{Row, RowContent, Tree};
use crate::api::upstream;
use crate::format::{bytes, count, short_duration, shorten};
use crate::labels::link_state;
use crate::node_status::{link_level, notes, role};
use crate::status_level::{StatusLevel, StatusText};

/// Width of a box, and its indentation below its master.
const WIDTH: usize = 268;
const INDENT: usize = 84;

/// Height of a line of text, and padding of a box.
const LINE: usize = 17;
const PADDING: usize = 11;

/// Vertical gap between boxes, and height of the title.
const GAP: usize = 12;
const TITLE: usize = 24;

/// Width of the area for the arrow that closes a replication loop.
const LOOP_ARROW: usize = 24;

/// Maximum number of characters of the name, and of the other lines of a box.
const NAME: usize = 27;
const TEXT: usize = 36;

/// A box with its text and position.
struct NodeBox {
    name: String,
    role: StatusText,
    note: Option<StatusText>,
    left: usize,
    top: usize,
    height: usize,
}

/// Draws the first trees, and adds the number of the others. `id` is unique on the page.
pub(super) fn drawing(view: &DeploymentView, trees: &[Tree], max: usize, id: &str) -> Markup {
    let left_out = trees.len().saturating_sub(max);
    html! {
        div.drawing {
            @for (tree, number) in trees.iter().take(max).zip(0..) {
                (draw_tree(view, tree, &format!("{id}-{number}")))
            }
            @if left_out > 0 {
                p { "Not drawn: " (count(left_out, "group")) ", see the table." }
            }
        }
    }
}

fn draw_tree(view: &DeploymentView, tree: &Tree, id: &str) -> Markup {
    let mut bottom = TITLE;
    let boxes: Vec<_> = tree.rows.iter().map(|row| place_box(view, row, &mut bottom)).collect();
    let height = bottom + if tree.left_out > 0 { LINE } else { 0 };
    let width = boxes.iter().map(|node_box| node_box.left).max().unwrap_or_default()
        + WIDTH
        + if tree.loop_end.is_some() { LOOP_ARROW } else { 2 };
    let (title_id, description_id) = (format!("{id}-title"), format!("{id}-desc"));
    let labelled_by = format!("{title_id} {description_id}");
    let view_box = format!("0 0 {width} {height}");
    let nodes = count(tree.rows.len() + tree.left_out, "node");
    html! {
        svg.(tree.level.class()) role="img" aria-labelledby=(labelled_by) viewBox=(view_box)
            width=(width) height=(height) {
            title id=(title_id) { (tree.title) ": " (nodes) }
            desc id=(description_id) { (description(view, tree, &boxes)) }
            text.title x="1" y="14" { (tree.title) }
            @for (row, node_box) in tree.rows.iter().zip(&boxes) {
                @if let Some(parent) = row.parent.and_then(|parent| boxes.get(parent)) {
                    (draw_arrow(view, row, parent, node_box))
                }
            }
            @for node_box in &boxes { (draw_box(node_box)) }
            @if let Some(last) = tree.loop_end.and_then(|row| boxes.get(row)) {
                (draw_loop_arrow(&boxes[0], last, width))
            }
            @if tree.left_out > 0 {
                text.more x="1" y=(height - 4) { "and " (tree.left_out) " more" }
            }
        }
    }
}

/// Places the box of a row below `bottom`, and moves `bottom` below the box.
fn place_box(view: &DeploymentView, row: &Row, bottom: &mut usize) -> NodeBox {
    let (name, role, note) = match &row.content {
        RowContent::UnknownAddress(address) => {
            let role = StatusText::new(StatusLevel::Critical, "not part of this deployment");
            (address.clone(), role, None)
        }
        RowContent::Node(index) => {
            let node = &view.nodes[*index];
            let worst = notes(node).into_iter().min_by_key(|note| note.level);
            (node.node.name.clone(), role(view, *index), worst)
        }
    };
    let height = PADDING * 2 + LINE * if note.is_some() { 3 } else { 2 } - 6;
    let top = *bottom;
    *bottom += height + GAP;
    NodeBox { name, role, note, left: row.depth * INDENT + 1, top, height }
}

fn draw_box(node_box: &NodeBox) -> Markup {
    let NodeBox { name, role, note, left, top, height } = node_box;
    let line = |number: usize| top + PADDING + LINE * number - 4;
    let text = left + 14;
    html! {
        g.(role.level.class()) {
            rect.box x=(left) y=(top) width=(WIDTH) height=(height) rx="5" {}
            rect.mark x=(left) y=(top) width="5" height=(height) {}
            text.name x=(text) y=(line(1)) { (shorten(name, NAME)) }
            text.role x=(text) y=(line(2)) { (shorten(&role.text, TEXT)) }
            @if let Some(note) = note {
                text.role.(note.level.class()) x=(text) y=(line(3)) {
                    (shorten(without_label(&note.text), TEXT))
                }
            }
        }
    }
}

/// Removes the label value in parentheses, for which a box has no space.
fn without_label(text: &str) -> &str {
    text.split(" (").next().unwrap_or(text)
}

/// Draws an arrow from the lower edge of a master to the left edge of its replica, with the state
/// of the link.
fn draw_arrow(view: &DeploymentView, row: &Row, parent: &NodeBox, node_box: &NodeBox) -> Markup {
    let RowContent::Node(index) = row.content else { return Markup::default() };
    let StatusText { level, text } = link_text(view, index);
    let (from, trunk, to) = (parent.top + parent.height, parent.left + 16, node_box.left);
    let middle = node_box.top + node_box.height / 2;
    html! {
        path.trunk d={ "M" (trunk) " " (from) "V" (middle) } {}
        g.(level.class()) {
            path.link d={ "M" (trunk) " " (middle) "H" (to - 6) } {}
            path.head d={ "M" (to) " " (middle) "l-8 -4v8z" } {}
            text.lag x=(trunk + 6) y=(middle - 5) { (text) }
        }
    }
}

/// Draws the arrow that closes a replication loop, from the last node to the first.
fn draw_loop_arrow(first: &NodeBox, last: &NodeBox, width: usize) -> Markup {
    let (from, to) = (last.top + last.height / 2, first.top + first.height / 2);
    let (start, end) = (last.left + WIDTH, first.left + WIDTH);
    html! {
        g.bad {
            path.link d={ "M" (start) " " (from) "H" (width - 4) "V" (to) "H" (end + 8) } {}
            path.head d={ "M" (end) " " (to) "l8 -4v8z" } {}
        }
    }
}

/// Returns the lag of a replica while its link is up, or else the state of the link.
fn link_text(view: &DeploymentView, index: topology::NodeIndex) -> StatusText {
    let node = &view.nodes[index];
    let Some(state) = node.link.state.filter(|_| !node.is_unknown()) else {
        return StatusText::new(StatusLevel::Unknown, "");
    };
    let lag = node.lag.behind.map(short_duration).or_else(|| node.lag.bytes.map(bytes));
    let text = lag.filter(|_| state == LinkState::Up).unwrap_or_else(|| link_state(state));
    StatusText::new(link_level(state), text)
}

/// Describes the drawing in sentences.
fn description(view: &DeploymentView, tree: &Tree, boxes: &[NodeBox]) -> String {
    let mut text = String::new();
    for (row, node_box) in tree.rows.iter().zip(boxes) {
        // Writing to a string does not fail.
        let _ = write!(text, "{}: {}", node_box.name, node_box.role.text);
        if let RowContent::Node(index) = row.content
            && view.nodes[index].upstream != Upstream::Nothing
        {
            let master = upstream(view, &view.nodes[index]).unwrap_or_default();
            let link = link_text(view, index).text;
            let _ = write!(text, ", replicates from {master}, link {link}");
        }
        if let Some(note) = &node_box.note {
            let _ = write!(text, ", {}", note.text);
        }
        text += ". ";
    }
    text
}
