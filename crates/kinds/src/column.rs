//! The columns of `kubectl get`. What a column says of itself is the API documents' text about the field that it shows,
//! as upstream takes it, or a sentence of its own.

use std::collections::HashMap;
use std::sync::OnceLock;

/// One column of `kubectl get`.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub name: &'static str,
    /// `string`, `integer`, `date`, …
    pub kind: &'static str,
    pub format: &'static str,
    about: About,
    /// 0 is always shown, 1 with `-o wide`.
    pub priority: u8,
}

/// Where a column's description comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum About {
    Text(&'static str),
    /// A field of a type of the API: `core.v1.PodStatus`, `podIP`.
    Field(&'static str, &'static str),
}

impl Column {
    pub const NAME: Self = Self::new("Name", "string").a_name();
    pub const AGE: Self = Self::new("Age", "string").shows("meta.v1.ObjectMeta", "creationTimestamp");

    pub const fn new(name: &'static str, kind: &'static str) -> Self {
        Self {
            name,
            kind,
            format: "",
            about: About::Text(""),
            priority: 0,
        }
    }

    pub const fn wide(name: &'static str, kind: &'static str) -> Self {
        Self {
            priority: 1,
            ..Self::new(name, kind)
        }
    }

    /// Shows the object's name, by which clients know rows.
    pub const fn a_name(self) -> Self {
        Self {
            format: "name",
            ..self.shows("meta.v1.ObjectMeta", "name")
        }
    }

    /// Shows something by which clients know rows, though not the row's own name.
    pub const fn as_name(self) -> Self {
        Self {
            format: "name",
            ..self
        }
    }

    /// Shows a field: its documentation describes the column.
    pub const fn shows(self, kind: &'static str, field: &'static str) -> Self {
        Self {
            about: About::Field(kind, field),
            ..self
        }
    }

    pub const fn says(self, text: &'static str) -> Self {
        Self {
            about: About::Text(text),
            ..self
        }
    }

    pub fn description(&self) -> &'static str {
        match self.about {
            About::Text(text) => text,
            field => texts().get(&field).map_or("", String::as_str),
        }
    }
}

/// The descriptions of all fields that columns show. Read once, when the first table is printed, and only what is shown
/// is kept.
fn texts() -> &'static HashMap<About, String> {
    static TEXTS: OnceLock<HashMap<About, String>> = OnceLock::new();
    TEXTS.get_or_init(|| {
        let rows = crate::rows();
        let columns = rows
            .iter()
            .chain([&**crate::scale::row()])
            .flat_map(|row| row.columns);
        let wanted = columns.filter_map(|column| match column.about {
            About::Field(kind, field) => Some((kind, field)),
            About::Text(_) => None,
        });
        let found = crate::schema::descriptions(&wanted.collect::<Vec<_>>());
        let keyed = found
            .into_iter()
            .map(|((kind, field), text)| (About::Field(kind, field), text));
        keyed.collect()
    })
}
