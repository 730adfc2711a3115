//! Values as upstream's errors show them: a structure as Go prints its internal form, with all members, in the order of
//! the type. What is shown has a limit in bytes.

use super::schema::{Additional, Items, Schema};
use meta::field::Shown;
use serde_json::Value;
use std::fmt::Write as _;

/// No more of a value is shown.
const SHOWN_MAX: usize = 1 << 20;

/// A text in quotes, as Go's `%q`.
pub(super) fn quoted(text: &str) -> Shown {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            c if is_print(c) => out.push(c),
            c if (c as u32) < 0x80 => push(&mut out, format_args!("\\x{:02x}", c as u32)),
            c if (c as u32) < 0x1_0000 => push(&mut out, format_args!("\\u{:04x}", c as u32)),
            c => push(&mut out, format_args!("\\U{:08x}", c as u32)),
        }
    }
    out.push('"');
    Shown(out)
}

/// Whether Go calls it printable: letters, marks, numbers, punctuation, symbols and the ASCII space.
pub(super) fn is_print(c: char) -> bool {
    if c.is_ascii() {
        return (' '..='~').contains(&c);
    }
    // Only the first character of a text is escaped for being a mark.
    let escaped: String = format!("a{c}").escape_debug().collect();
    !escaped.contains('\\')
}

/// A text as JSON, which is how named text types and pointers to texts are shown.
pub(super) fn json_text(text: &str) -> Shown {
    let mut out = String::new();
    push_text(&mut out, text);
    Shown(out)
}

/// … where there is one.
pub(super) fn json_text_or_null(text: Option<&str>) -> Shown {
    text.map_or_else(|| Shown("null".into()), json_text)
}

pub(super) fn texts(texts: &[Value]) -> Shown {
    let mut shown = Writer::default();
    shown.value_list(texts);
    Shown(shown.out)
}

pub(super) fn schema(schema: Schema) -> Shown {
    let mut shown = Writer::default();
    shown.schema(schema);
    Shown(shown.out)
}

pub(super) fn items(items: Items) -> Shown {
    let mut shown = Writer::default();
    shown.items(items);
    Shown(shown.out)
}

/// One of `x-kubernetes-validations`.
pub(super) fn rule(rule: &Value) -> Shown {
    let mut shown = Writer::default();
    shown.rule(rule);
    Shown(shown.out)
}

/// A value of no type.
pub(super) fn any(value: &Value) -> Shown {
    if let Value::String(text) = value {
        return quoted(text);
    }
    let mut shown = Writer::default();
    shown.value(value);
    Shown(shown.out)
}

/// The list of versions, without the parts that stand beside it because they are the same in all.
pub(super) fn versions(versions: &[super::spec::Version]) -> Shown {
    let mut shown = Writer::default();
    shown.list(Some(versions), |shown, version| shown.version(version));
    Shown(shown.out)
}

#[derive(Default)]
struct Writer {
    out: String,
}

/// How a member is written.
#[derive(Clone, Copy)]
pub(super) enum Form {
    Text,
    /// A text that may be missing.
    TextPointer,
    Flag,
    /// A flag that may be missing.
    FlagPointer,
    /// A number or another value that may be missing.
    Any,
    /// A list of values.
    Values,
    Schemas,
    Named,
    Inner,
    Additional,
}

/// The members of a schema in the order of upstream's internal type: its name there, its name in JSON and its form.
pub(super) const MEMBERS: [(&str, &str, Form); 43] = [
    ("ID", "id", Form::Text),
    ("Schema", "$schema", Form::Text),
    ("Ref", "$ref", Form::TextPointer),
    ("Description", "description", Form::Text),
    ("Type", "type", Form::Text),
    ("Nullable", "nullable", Form::Flag),
    ("Format", "format", Form::Text),
    ("Title", "title", Form::Text),
    ("Default", "default", Form::Any),
    ("Maximum", "maximum", Form::Any),
    ("ExclusiveMaximum", "exclusiveMaximum", Form::Flag),
    ("Minimum", "minimum", Form::Any),
    ("ExclusiveMinimum", "exclusiveMinimum", Form::Flag),
    ("MaxLength", "maxLength", Form::Any),
    ("MinLength", "minLength", Form::Any),
    ("Pattern", "pattern", Form::Text),
    ("MaxItems", "maxItems", Form::Any),
    ("MinItems", "minItems", Form::Any),
    ("UniqueItems", "uniqueItems", Form::Flag),
    ("MultipleOf", "multipleOf", Form::Any),
    ("Enum", "enum", Form::Values),
    ("MaxProperties", "maxProperties", Form::Any),
    ("MinProperties", "minProperties", Form::Any),
    ("Required", "required", Form::Values),
    ("Items", "items", Form::Any),
    ("AllOf", "allOf", Form::Schemas),
    ("OneOf", "oneOf", Form::Schemas),
    ("AnyOf", "anyOf", Form::Schemas),
    ("Not", "not", Form::Inner),
    ("Properties", "properties", Form::Named),
    ("AdditionalProperties", "additionalProperties", Form::Additional),
    ("PatternProperties", "patternProperties", Form::Named),
    ("Dependencies", "dependencies", Form::Any),
    ("AdditionalItems", "additionalItems", Form::Additional),
    ("Definitions", "definitions", Form::Named),
    ("ExternalDocs", "externalDocs", Form::Any),
    ("Example", "example", Form::Any),
    (
        "XPreserveUnknownFields",
        "x-kubernetes-preserve-unknown-fields",
        Form::FlagPointer,
    ),
    ("XEmbeddedResource", "x-kubernetes-embedded-resource", Form::Flag),
    ("XIntOrString", "x-kubernetes-int-or-string", Form::Flag),
    ("XListMapKeys", "x-kubernetes-list-map-keys", Form::Values),
    ("XListType", "x-kubernetes-list-type", Form::TextPointer),
    ("XMapType", "x-kubernetes-map-type", Form::TextPointer),
];
pub(super) const RULES: &str = "x-kubernetes-validations";

/// The names of those members of a schema that hold something, as upstream calls them, in its order.
pub(super) fn members_given(schema: Schema) -> impl Iterator<Item = &'static str> {
    let plain = MEMBERS.iter().filter_map(move |(name, field, form)| {
        let value = schema.given(field)?;
        let given = match form {
            Form::Text => value.as_str().is_some_and(|text| !text.is_empty()),
            Form::Flag => value.as_bool() == Some(true),
            _ => true,
        };
        given.then_some(*name)
    });
    plain.chain(schema.given(RULES).map(|_| "XValidations"))
}

impl Writer {
    fn is_full(&self) -> bool {
        self.out.len() >= SHOWN_MAX
    }

    fn schema(&mut self, schema: Schema) {
        self.out.push('{');
        for (name, field, form) in MEMBERS {
            if self.is_full() {
                return;
            }
            self.name(name);
            self.member(schema, field, form);
            self.out.push(',');
        }
        self.name("XValidations");
        let rules = schema.given(RULES).map(|_| schema.list(RULES));
        self.list(rules, |shown, rule| shown.rule(rule));
        self.out.push('}');
    }

    fn member(&mut self, schema: Schema, field: &str, form: Form) {
        match (form, schema.given(field)) {
            (Form::Text, _) => push_text(&mut self.out, schema.text(field)),
            (Form::Flag, _) => self.plain(schema.is(field)),
            (_, None) => self.out.push_str("null"),
            (Form::TextPointer, _) => push_text(&mut self.out, schema.text(field)),
            (Form::FlagPointer, _) => self.plain(schema.is(field)),
            (Form::Any, Some(value)) => match field {
                "items" => self.items(schema.items().unwrap_or(Items::Neither)),
                "dependencies" => self.dependencies(schema),
                "externalDocs" => self.structure(value, &[("Description", "description"), ("URL", "url")]),
                _ => self.value(value),
            },
            (Form::Values, Some(_)) => self.value_list(schema.list(field)),
            (Form::Schemas, Some(_)) => {
                self.list(Some(schema.list(field)), |shown, item| {
                    shown.schema(Schema::of(item))
                });
            }
            (Form::Named, Some(_)) => self.map(schema.map(field).iter(), |shown, item| {
                shown.schema(Schema::of(item));
            }),
            (Form::Inner, Some(value)) => self.schema(Schema::of(value)),
            (Form::Additional, Some(_)) => self.additional(schema.additional(field)),
        }
    }

    fn additional(&mut self, additional: Option<Additional>) {
        let (allows, schema) = match additional {
            None => return self.out.push_str("null"),
            Some(Additional::Schema(schema)) => (true, Some(schema)),
            Some(Additional::Allowed(allows)) => (allows, None),
        };
        self.out.push_str("{\"Allows\":");
        self.plain(allows);
        self.out.push_str(",\"Schema\":");
        self.schema_or_null(schema);
        self.out.push('}');
    }

    fn items(&mut self, items: Items) {
        let (one, each) = match items {
            Items::One(schema) => (Some(schema), None),
            Items::Each(schemas) => (None, Some(schemas)),
            Items::Neither => (None, None),
        };
        self.out.push_str("{\"Schema\":");
        self.schema_or_null(one);
        self.out.push_str(",\"JSONSchemas\":");
        self.list(each, |shown, item| shown.schema(Schema::of(item)));
        self.out.push('}');
    }

    fn dependencies(&mut self, schema: Schema) {
        self.map(schema.map("dependencies").iter(), |shown, value| {
            shown.out.push_str("{\"Schema\":");
            shown.schema_or_null(value.as_object().map(Schema));
            shown.out.push_str(",\"Property\":");
            shown.list(value.as_array().map(Vec::as_slice), |shown, item| {
                shown.value(item)
            });
            shown.out.push('}');
        });
    }

    fn schema_or_null(&mut self, schema: Option<Schema>) {
        match schema {
            Some(schema) => self.schema(schema),
            None => self.out.push_str("null"),
        }
    }

    fn rule(&mut self, rule: &Value) {
        let rule = Schema::of(rule);
        self.out.push('{');
        for (name, field) in [
            ("Rule", "rule"),
            ("Message", "message"),
            ("MessageExpression", "messageExpression"),
        ] {
            self.name(name);
            push_text(&mut self.out, rule.text(field));
            self.out.push(',');
        }
        self.name("Reason");
        self.text_or_null(rule.given_text("reason"));
        self.out.push(',');
        self.name("FieldPath");
        push_text(&mut self.out, rule.text("fieldPath"));
        self.out.push(',');
        self.name("OptionalOldSelf");
        match rule.flag("optionalOldSelf") {
            Some(flag) => self.plain(flag),
            None => self.out.push_str("null"),
        }
        self.out.push('}');
    }

    fn version(&mut self, version: &super::spec::Version) {
        self.out.push('{');
        self.name("Name");
        push_text(&mut self.out, version.name);
        for (name, field) in [
            ("Served", "served"),
            ("Storage", "storage"),
            ("Deprecated", "deprecated"),
        ] {
            self.out.push(',');
            self.name(name);
            self.plain(version.raw.is(field));
        }
        self.out.push_str(",\"DeprecationWarning\":");
        self.text_or_null(version.raw.given_text("deprecationWarning"));
        self.out.push_str(",\"Schema\":");
        match version.schema {
            None => self.out.push_str("null"),
            Some(validation) => {
                self.out.push_str("{\"OpenAPIV3Schema\":");
                self.schema_or_null(validation.inner("openAPIV3Schema"));
                self.out.push('}');
            }
        }
        self.out.push_str(",\"Subresources\":");
        self.subresources(version.subresources);
        self.out.push_str(",\"AdditionalPrinterColumns\":");
        self.list(version.columns, |shown, column| shown.column(column));
        self.out.push_str(",\"SelectableFields\":");
        self.list(version.selectable, |shown, field| {
            shown.structure(field, &[("JSONPath", "jsonPath")]);
        });
        self.out.push('}');
    }

    fn subresources(&mut self, subresources: Option<Schema>) {
        let Some(subresources) = subresources else {
            return self.out.push_str("null");
        };
        let status = subresources.given("status").map_or("null", |_| "{}");
        push(&mut self.out, format_args!("{{\"Status\":{status},\"Scale\":"));
        match subresources.inner("scale") {
            None => self.out.push_str("null"),
            Some(scale) => {
                self.out.push('{');
                for (name, field) in [
                    ("SpecReplicasPath", "specReplicasPath"),
                    ("StatusReplicasPath", "statusReplicasPath"),
                ] {
                    self.name(name);
                    push_text(&mut self.out, scale.text(field));
                    self.out.push(',');
                }
                self.name("LabelSelectorPath");
                self.text_or_null(scale.given_text("labelSelectorPath"));
                self.out.push('}');
            }
        }
        self.out.push('}');
    }

    fn column(&mut self, column: &Value) {
        let read = Schema::of(column);
        self.out.push('{');
        for (name, field) in [
            ("Name", "name"),
            ("Type", "type"),
            ("Format", "format"),
            ("Description", "description"),
        ] {
            self.name(name);
            push_text(&mut self.out, read.text(field));
            self.out.push(',');
        }
        let priority = read.given("priority").and_then(Value::as_i64).unwrap_or(0);
        push(
            &mut self.out,
            format_args!("\"Priority\":{priority},\"JSONPath\":"),
        );
        push_text(&mut self.out, read.text("jsonPath"));
        self.out.push('}');
    }

    /// A structure of texts.
    fn structure(&mut self, value: &Value, members: &[(&str, &str)]) {
        let read = Schema::of(value);
        for (i, (name, field)) in members.iter().enumerate() {
            self.out.push(if i == 0 { '{' } else { ',' });
            self.name(name);
            push_text(&mut self.out, read.text(field));
        }
        self.out.push('}');
    }

    fn name(&mut self, name: &str) {
        push(&mut self.out, format_args!("\"{name}\":"));
    }

    fn plain(&mut self, value: impl std::fmt::Display) {
        push(&mut self.out, format_args!("{value}"));
    }

    fn text_or_null(&mut self, text: Option<&str>) {
        match text {
            Some(text) => push_text(&mut self.out, text),
            None => self.out.push_str("null"),
        }
    }

    fn list<T>(&mut self, list: Option<&[T]>, mut write: impl FnMut(&mut Self, &T)) {
        let Some(list) = list else {
            return self.out.push_str("null");
        };
        self.out.push('[');
        for (i, item) in list.iter().enumerate() {
            if self.is_full() {
                return;
            }
            if i > 0 {
                self.out.push(',');
            }
            write(self, item);
        }
        self.out.push(']');
    }

    fn value_list(&mut self, list: &[Value]) {
        self.list(Some(list), |shown, item| shown.value(item));
    }

    fn map<'a>(
        &mut self,
        members: impl Iterator<Item = (&'a String, &'a Value)>,
        mut write: impl FnMut(&mut Self, &Value),
    ) {
        self.out.push('{');
        for (i, (name, value)) in members.enumerate() {
            if self.is_full() {
                return;
            }
            if i > 0 {
                self.out.push(',');
            }
            push_text(&mut self.out, name);
            self.out.push(':');
            write(self, value);
        }
        self.out.push('}');
    }

    /// A value of no type, as Go's encoder writes it.
    fn value(&mut self, value: &Value) {
        match value {
            Value::String(text) => push_text(&mut self.out, text),
            Value::Number(number) => push_number(&mut self.out, number),
            Value::Array(list) => self.value_list(list),
            Value::Object(members) => self.map(members.iter(), Self::value),
            Value::Null | Value::Bool(_) => self.plain(value),
        }
    }
}

/// Writing to a text cannot fail.
fn push(out: &mut String, text: std::fmt::Arguments) {
    let written = out.write_fmt(text);
    debug_assert!(written.is_ok());
}

/// A text in JSON as Go writes it, which keeps it safe inside HTML.
fn push_text(out: &mut String, text: &str) {
    let plain = Value::from(text).to_string();
    for c in plain.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => push(out, format_args!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
}

/// A number as Go writes it: plain unless it is very small or very large.
fn push_number(out: &mut String, number: &serde_json::Number) {
    match number.as_f64() {
        Some(float) if number.is_f64() => {
            let size = float.abs();
            if size != 0.0 && !(1e-6..1e21).contains(&size) {
                let text = format!("{float:e}");
                // Go writes 1e+21, and 1e-7 without a leading zero.
                push(
                    out,
                    format_args!("{}", text.replace('e', "e+").replace("e+-", "e-")),
                );
            } else {
                push(out, format_args!("{float}"));
            }
        }
        _ => push(out, format_args!("{number}")),
    }
}
