//! Columns as kubectl prints them: three spaces between, none at a line's end.

/// Narrower columns are widened to this, spaces included.
const LEAST: usize = 6;
const GAP: usize = 3;

/// Widths are remembered from one print to the next, so that the lines of a watch stand below each other.
#[derive(Default)]
pub struct Columns {
    widths: Vec<usize>,
}

impl Columns {
    pub fn lines(&mut self, rows: &[Vec<String>]) -> String {
        for row in rows {
            let bounded = row.len().saturating_sub(1);
            self.widths.resize(self.widths.len().max(bounded), 0);
            for (width, cell) in self.widths.iter_mut().zip(&row[..bounded]) {
                *width = (*width).max(cell.chars().count() + GAP).max(LEAST);
            }
        }
        rows.iter().map(|row| self.line(row)).collect()
    }

    fn line(&self, row: &[String]) -> String {
        let mut line = String::new();
        for (at, cell) in row.iter().enumerate() {
            line.push_str(cell);
            if at + 1 < row.len() {
                let width = self.widths.get(at).copied().unwrap_or_default();
                line.extend(std::iter::repeat_n(
                    ' ',
                    width.saturating_sub(cell.chars().count()),
                ));
            }
        }
        line.push('\n');
        line
    }
}

/// One table with its header.
pub fn text(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut all = vec![header.iter().map(ToString::to_string).collect()];
    all.extend(rows);
    Columns::default().lines(&all)
}

/// Bytes for people: `512B`, `3.1MiB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count}B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_as_kubectls_do() {
        let rows = vec![
            vec![
                "web-0".into(),
                "1/1".into(),
                "Running".into(),
                "0".into(),
                "5s".into(),
            ],
            vec![
                "a-long-name-0".into(),
                "0/1".into(),
                "ContainerCreating".into(),
                "12 (3s ago)".into(),
                "1s".into(),
            ],
        ];
        let text = text(&["NAME", "READY", "STATUS", "RESTARTS", "AGE"], rows);
        let expected = "\
NAME            READY   STATUS              RESTARTS      AGE
web-0           1/1     Running             0             5s
a-long-name-0   0/1     ContainerCreating   12 (3s ago)   1s
";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_watch_keeps_its_columns() {
        let mut columns = Columns::default();
        columns.lines(&[vec!["a-long-name".into(), "1".into()]]);
        assert_eq!(
            columns.lines(&[vec!["b".into(), "1".into()]]),
            "b             1\n"
        );
        assert_eq!(
            text(&["A", "B"], vec![vec!["".into(), "x".into()]]),
            "A     B\n      x\n"
        );
    }

    #[test]
    fn bytes_for_people() {
        assert_eq!(bytes(17), "17B");
        assert_eq!(bytes(1536), "1.5KiB");
        assert_eq!(bytes(5 << 30), "5.0GiB");
    }
}
