//! Which objects a list, watch or deletecollection is about: namespace, labels, fields.

use kinds::Row;
use meta::selector::{FieldSelector, LabelSelector};
use meta::{Object, Options, Status};

pub struct Filter {
    namespace: String,
    labels: LabelSelector,
    fields: FieldSelector,
    /// Some term is about more than metadata: the object must be decoded.
    deep: bool,
}

impl Filter {
    pub fn new(row: &Row, namespace: &str, options: &Options) -> Result<Self, Status> {
        let labels =
            LabelSelector::parse(&options.label_selector).map_err(|e| Status::bad_request(e.to_string()))?;
        let fields =
            FieldSelector::parse(&options.field_selector).map_err(|e| Status::bad_request(e.to_string()))?;
        for term in &fields.terms {
            let known = match term.field.as_str() {
                "metadata.name" => true,
                "metadata.namespace" => row.namespaced,
                other => row.selects(other),
            };
            if !known {
                let text = format!("field label not supported: {}", term.field);
                return Err(Status::bad_request(text));
            }
        }
        let deep = fields.terms.iter().any(|t| !t.field.starts_with("metadata."));
        Ok(Self {
            namespace: namespace.to_string(),
            labels,
            fields,
            deep,
        })
    }

    /// Storage keys start with this.
    pub fn prefix(&self) -> String {
        if self.namespace.is_empty() {
            String::new()
        } else {
            format!("{}/", self.namespace)
        }
    }

    /// Nothing but the namespace narrows it.
    pub fn takes_all(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    pub fn matches(&self, row: &Row, object: &Object) -> bool {
        let meta = object.meta();
        if !self.namespace.is_empty() && *meta.namespace != *self.namespace {
            return false;
        }
        if !self.labels.matches(&meta.labels) {
            return false;
        }
        if self.fields.is_everything() {
            return true;
        }
        let value = self.deep.then(|| object.value());
        self.fields.matches(|field| match (field, &value) {
            ("metadata.name", _) => meta.name.to_string(),
            ("metadata.namespace", _) => meta.namespace.to_string(),
            (other, Some(value)) => row.rules.field(value, other),
            (_, None) => String::new(),
        })
    }
}
