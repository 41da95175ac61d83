//! Where in a file a setting stands.

use toml_edit::{ImDocument, TableLike};

/// The line of a setting, from 1 on, by its dotted name; `None` where it is not set there.
pub(super) fn line_of(text: &str, setting: &str) -> Option<usize> {
    let document = ImDocument::parse(text).ok()?;
    let mut table: &dyn TableLike = document.as_table();
    let mut start = None;
    for name in setting.split('.') {
        let (key, item) = table.get_key_value(name)?;
        start = key.span().or_else(|| item.span()).map(|span| span.start);
        match item.as_table_like() {
            Some(inner) => table = inner,
            // What the name goes on with is a part of the value.
            None => break,
        }
    }
    Some(line_at(text, start?))
}

/// The line of a byte, from 1 on.
pub(super) fn line_at(text: &str, offset: usize) -> usize {
    let before = text.get(..offset).unwrap_or(text);
    before.matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# A comment.
[http]
listen = \"127.0.0.1:8000\"

xray.never = 1
[xray]
server_names = [
    \"a\",
    \"b\",
]
[panel]
";

    #[test]
    fn a_setting_stands_where_its_name_does() {
        for (setting, line) in [
            ("http.listen", Some(3)),
            ("http.xray.never", Some(5)),
            ("xray.server_names", Some(7)),
            ("xray.server_names.1", Some(7)),
            ("panel", Some(11)),
            ("panel.url", None),
            ("grpc.listen", None),
        ] {
            assert_eq!(line_of(TEXT, setting), line, "{setting}");
        }
        assert_eq!(line_of("a = {b = 1}\nc.d = 2\n", "a.b"), Some(1));
        assert_eq!(line_of("a = {b = 1}\nc.d = 2\n", "c.d"), Some(2));
        assert_eq!(line_of("no toml", "no"), None);
    }
}
