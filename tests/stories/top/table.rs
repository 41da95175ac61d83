//! What is on the screen of `portmeter top`, read as a person reads it: by headings and names.

/// The widest figure, in columns.
const FIGURE_WIDTH: usize = 8;

/// The line of headings.
pub(super) fn headings(screen: &[String]) -> Option<&String> {
    screen.iter().find(|line| line.contains("NAME") && line.contains("TX "))
}

/// The names in the table, from above.
pub(super) fn names(screen: &[String]) -> Vec<&str> {
    let rows = screen.iter().skip_while(|line| !line.contains("NAME")).skip(1);
    let rows = rows.take_while(|line| !line.is_empty());
    rows.filter_map(|line| line.split_whitespace().nth(1)).collect()
}

/// The figure that a row has below a heading; a prefix before the unit multiplies it. Nothing where there is none.
pub(super) fn figure(screen: &[String], name: &str, heading: &str) -> Option<f64> {
    let heading_line: Vec<char> = headings(screen)?.chars().collect();
    let wanted: Vec<char> = heading.chars().collect();
    let start = heading_line.windows(wanted.len()).position(|window| window == wanted)?;
    let mut end = start + wanted.len();
    // Sorted by it: the mark belongs to the heading.
    if matches!(heading_line.get(end + 1), Some('▼' | '▲' | 'v' | '^')) {
        end += 2;
    }
    let row = screen
        .iter()
        .find(|line| line.split_whitespace().nth(1) == Some(name))?;
    let cells: Vec<char> = row.chars().collect();
    let cell: String = cells
        .get(end.checked_sub(FIGURE_WIDTH)?..end.min(cells.len()))?
        .iter()
        .collect();
    number(cell.trim())
}

fn number(text: &str) -> Option<f64> {
    // The graph may reach into a figure's room, and so may the name: a figure is what stands at the right.
    let mut words: Vec<&str> = text.split_whitespace().collect();
    let last = words.pop()?;
    let (digits, unit) = match last.chars().next()? {
        '0'..='9' => (last, ""),
        _ => (words.pop()?, last),
    };
    let factor = match unit.chars().next() {
        None | Some('B' | 'b') => 1.0,
        Some('k') => 1e3,
        Some('M') => 1e6,
        Some('G') => 1e9,
        _ => return None,
    };
    Some(digits.replace(',', "").parse::<f64>().ok()? * factor)
}

/// Whether a figure is another one, within a share of it.
pub(super) fn is_near(found: f64, expected: f64, tolerance: f64) -> bool {
    (found - expected).abs() <= expected * tolerance
}

/// The numbers of all sequences for colours and attributes in a text.
pub(super) fn attributes(text: &str) -> Vec<u32> {
    let sequences = text.split("\u{1b}[").skip(1).filter_map(|rest| rest.split_once('m'));
    let numbers = sequences.filter(|(numbers, _)| numbers.chars().all(|one| one.is_ascii_digit() || one == ';'));
    numbers
        .flat_map(|(numbers, _)| numbers.split(';').filter_map(|number| number.parse().ok()))
        .collect()
}

/// Whether any of them is a colour.
pub(super) fn has_colours(text: &str) -> bool {
    // 39 and 49 are the terminal's own.
    let is_colour = |number: &u32| matches!(number, 30..=38 | 40..=48 | 90..=97 | 100..=107);
    attributes(text).iter().any(is_colour)
}
