//! The table of field numbers, as `cargo xtask gen` writes it.

use super::layout::{Layouts, Message};
use meta::schema::Written;
use std::collections::HashMap;

/// Fields of all messages, by the names that the table uses (`core.v1.Pod`).
#[derive(Debug, Default)]
pub struct Table {
    pub(super) structs: Vec<Struct>,
    by_name: HashMap<Box<str>, u32>,
    /// The package of a group's version: `apps.v1` for `apps/v1`.
    packages: HashMap<Box<str>, Box<str>>,
    pub(super) layouts: Layouts,
    /// Where `JSONSchemaProps` stands.
    pub(super) schema: u32,
}

/// One struct of Go that is a message.
#[derive(Debug)]
pub(super) struct Struct {
    name: Box<str>,
    /// In the order of their numbers, which is that on the wire.
    pub fields: Vec<Field>,
}

#[derive(Debug, Clone)]
pub(super) struct Field {
    pub number: u32,
    pub name: Box<str>,
    pub kind: Kind,
    pub shape: Shape,
    /// Members stand in the message that holds this one.
    pub inline: bool,
    pub pointer: bool,
    /// Without `omitempty`.
    always: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Text,
    Bytes,
    Int,
    Bool,
    Double,
    /// By its place in the table.
    Struct(u32),
    Special(Special),
}

/// Messages whose JSON is not an object of their fields.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Special {
    Quantity,
    IntOrString,
    Time,
    MicroTime,
    /// JSON of any form in a field of bytes: raw extensions, managed fields, values in schemas.
    Raw,
    /// A named list such as `extra` of a user: its items are field 1, all of them text.
    Texts,
    /// A schema or, respectively, several of them, a boolean, names of properties.
    SchemaOrArray,
    SchemaOrBool,
    SchemaOrTexts,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Shape {
    One,
    List,
    Map,
}

impl Field {
    /// A zero that was sent is meant: Go's pointers, and fields without `omitempty`.
    pub fn keeps_zero(&self) -> bool {
        self.pointer || self.always
    }

    fn written(&self) -> Written {
        match () {
            () if self.pointer && self.always => Written::OrNull,
            () if self.pointer => Written::Given,
            () if self.always => Written::Always,
            () => Written::Nonzero,
        }
    }
}

impl Struct {
    pub fn field(&self, number: u32) -> Option<&Field> {
        let found = self.fields.binary_search_by_key(&number, |f| f.number);
        found.ok().map(|at| &self.fields[at])
    }
}

impl Table {
    /// Reads the table's text: `type: field=number kind; …` a line, `@package group` for a version of a group, `#` for
    /// comments. `None` if it is malformed.
    pub fn parse(text: &str) -> Option<Self> {
        let mut table = Self::default();
        let mut bodies = Vec::new();
        for line in text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
            if let Some(package) = line.strip_prefix('@') {
                let (package, group) = package.split_once(' ')?;
                let (_, version) = package.rsplit_once('.')?;
                let api_version = match group {
                    "" => version.to_string(),
                    group => format!("{group}/{version}"),
                };
                table.packages.insert(api_version.into(), package.into());
                continue;
            }
            let (name, fields) = line.split_once(": ")?;
            table.by_name.insert(name.into(), bodies.len() as u32);
            bodies.push((name, fields));
        }
        // One that is not in the table has no fields.
        let empty = bodies.len() as u32;
        for (name, fields) in bodies {
            let known = |name: &str| table.by_name.get(name).copied().unwrap_or(empty);
            let fields = fields.split("; ").map(|f| parse_field(f, &known));
            let mut fields = fields.collect::<Option<Vec<_>>>()?;
            fields.sort_by_key(|f| f.number);
            let name = name.into();
            table.structs.push(Struct { name, fields });
        }
        table.structs.push(Struct {
            name: "".into(),
            fields: Vec::new(),
        });
        let schema = table.by_name.get("apiextensions.v1.JSONSchemaProps");
        table.schema = schema.copied().unwrap_or(empty);
        table.layouts = Layouts::of(&table.structs)?;
        Some(table)
    }

    /// The message that a kind is. Options of requests are meta/v1 under whatever version they come, as are the answers
    /// that belong to no group under `v1` (or none: `APIVersions`), and what an older version of meta/v1 has not changed.
    pub fn message(&self, api_version: &str, kind: &str) -> Option<Message> {
        let own = || {
            let package = self.packages.get(api_version)?;
            self.by_name.get(format!("{package}.{kind}").as_str())
        };
        let common = || {
            let common =
                matches!(api_version, "v1" | "" | "meta.k8s.io/v1beta1") || kind.ends_with("Options");
            common
                .then(|| self.by_name.get(format!("meta.v1.{kind}").as_str()))
                .flatten()
        };
        own().or_else(common).map(|at| Message(*at))
    }

    /// A message by its name in the table.
    pub fn named(&self, name: &str) -> Option<Message> {
        self.by_name.get(name).map(|at| Message(*at))
    }

    pub(super) fn name_of(&self, at: u32) -> &str {
        &self.structs[at as usize].name
    }

    /// When Go's encoder writes a message's field, for all fields by their JSON names, and the inline struct it is in.
    pub fn written(&self, message: Message) -> HashMap<&str, (Written, Option<&str>)> {
        let mut out = HashMap::new();
        for field in &self.structs[message.0 as usize].fields {
            match (field.kind, field.inline) {
                (Kind::Struct(inner), true) => {
                    let holder = self.name_of(inner).rsplit('.').next();
                    let fields = self.written(Message(inner)).into_iter();
                    out.extend(fields.map(|(name, (written, _))| (name, (written, holder))));
                }
                _ => {
                    out.insert(&*field.name, (field.written(), None));
                }
            }
        }
        out
    }
}

fn parse_field(text: &str, known: &impl Fn(&str) -> u32) -> Option<Field> {
    let (name, rest) = text.split_once('=')?;
    let (number, mut kind) = rest.split_once(' ')?;
    let always = strip_end(&mut kind, "!");
    let pointer = strip_end(&mut kind, "*");
    let inline = strip_start(&mut kind, "~");
    let shape = match () {
        () if strip_start(&mut kind, "+") => Shape::List,
        () if strip_start(&mut kind, "%") => Shape::Map,
        () => Shape::One,
    };
    let kind = match kind {
        "s" => Kind::Text,
        "y" => Kind::Bytes,
        "i" => Kind::Int,
        "b" => Kind::Bool,
        "d" => Kind::Double,
        other => message_kind(other.strip_prefix("m ")?, known),
    };
    Some(Field {
        number: number.parse().ok()?,
        name: name.into(),
        inline: inline && shape == Shape::One && matches!(kind, Kind::Struct(_)),
        kind,
        shape,
        pointer,
        always,
    })
}

fn message_kind(name: &str, known: &impl Fn(&str) -> u32) -> Kind {
    Kind::Special(match name {
        "resource.Quantity" => Special::Quantity,
        "intstr.IntOrString" => Special::IntOrString,
        "meta.v1.Time" => Special::Time,
        "meta.v1.MicroTime" => Special::MicroTime,
        "runtime.RawExtension" | "meta.v1.FieldsV1" | "apiextensions.v1.JSON" => Special::Raw,
        "[]string" => Special::Texts,
        "apiextensions.v1.JSONSchemaPropsOrArray" => Special::SchemaOrArray,
        "apiextensions.v1.JSONSchemaPropsOrBool" => Special::SchemaOrBool,
        "apiextensions.v1.JSONSchemaPropsOrStringArray" => Special::SchemaOrTexts,
        other => return Kind::Struct(known(other)),
    })
}

fn strip_start(text: &mut &str, mark: &str) -> bool {
    text.strip_prefix(mark).map(|rest| *text = rest).is_some()
}

fn strip_end(text: &mut &str, mark: &str) -> bool {
    text.strip_suffix(mark).map(|rest| *text = rest).is_some()
}
