//! The environment of a container, resolved as kubelet does: envFrom, then env in order (each may use those before it),
//! then the services of the namespace for names that are still free. Pure. Source: kubelet's `makeEnvironmentVariables`.

pub mod file;

use crate::volumes::downward::{self, Facts};
use crate::volumes::{Sources, lookup};
use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, FileKeySelector, Pod, Service};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Why an environment cannot be made; the text is the message of `CreateContainerConfigError`.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum EnvError {
    #[error("{kind} \"{name}\" not found")]
    SourceNotFound { kind: &'static str, name: String },
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    KeyNotFound {
        key: String,
        kind: &'static str,
        namespace: String,
        name: String,
    },
    #[error("cannot find the volume {0:?} referenced by FileKeyRef")]
    NoFileVolume(String),
    #[error("couldn't parse env file")]
    BadFile,
    #[error("environment variable key {key:?} not found in file {file:?}")]
    NotInFile { key: String, file: PathBuf },
    #[error("{0}")]
    Field(String),
    #[error("environment variable {0}: the Secret's value is not UTF-8 text")]
    NotText(String),
}

/// All variables of a container in a stable order: envFrom's by name, env's as written, then the services'.
/// `services` are those of the pod's namespace and `default/kubernetes`; see `service_environment`.
pub fn resolve(
    pod: &Pod,
    container: &Container,
    sources: &Sources,
    facts: &Facts,
    services: &[(String, String)],
) -> Result<Vec<(String, String)>, EnvError> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let mut variables = Variables::default();
    for (name, value) in from_whole_sources(container, sources)? {
        variables.set(name, value);
    }
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (Some(text), _) if !text.is_empty() => {
                let service = |name: &str| {
                    services
                        .iter()
                        .find(|(n, _)| n == name)
                        .map(|(_, value)| value.clone())
                };
                Some(expand(text, |name| variables.get(name).or_else(|| service(name))))
            }
            (_, Some(from)) => value_from(pod, container, (variable, from), namespace, sources, facts)?,
            _ => Some(String::new()),
        };
        if let Some(value) = value {
            variables.set(variable.name.clone(), value);
        }
    }
    for (name, value) in services {
        if variables.get(name).is_none() {
            variables.set(name.clone(), value.clone());
        }
    }
    Ok(variables.list)
}

#[derive(Default)]
struct Variables {
    list: Vec<(String, String)>,
    places: std::collections::HashMap<String, usize>,
}

impl Variables {
    fn get(&self, name: &str) -> Option<String> {
        self.places.get(name).map(|place| self.list[*place].1.clone())
    }

    fn set(&mut self, name: String, value: String) {
        match self.places.get(&name) {
            Some(place) => self.list[*place].1 = value,
            None => {
                self.places.insert(name.clone(), self.list.len());
                self.list.push((name, value));
            }
        }
    }
}

/// envFrom: later sources win over earlier ones.
fn from_whole_sources(
    container: &Container,
    sources: &Sources,
) -> Result<BTreeMap<String, String>, EnvError> {
    let mut all = BTreeMap::new();
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or("");
        if let Some(reference) = &from.config_map_ref {
            match sources.config_maps.get(&reference.name) {
                Some(map) => {
                    let data = map.data.iter().flatten();
                    all.extend(data.map(|(key, value)| (format!("{prefix}{key}"), value.clone())));
                }
                None if reference.optional == Some(true) => {}
                None => return Err(not_found("configmap", &reference.name)),
            }
        }
        if let Some(reference) = &from.secret_ref {
            match sources.secrets.get(&reference.name) {
                Some(secret) => {
                    for (key, value) in secret.data.iter().flatten() {
                        all.insert(format!("{prefix}{key}"), text(key, &value.0)?);
                    }
                }
                None if reference.optional == Some(true) => {}
                None => return Err(not_found("secret", &reference.name)),
            }
        }
    }
    Ok(all)
}

/// `None`: an optional source is not there, so the variable is not set at all.
fn value_from(
    pod: &Pod,
    container: &Container,
    (variable, from): (&EnvVar, &EnvVarSource),
    namespace: &str,
    sources: &Sources,
    facts: &Facts,
) -> Result<Option<String>, EnvError> {
    if let Some(field) = &from.field_ref {
        return downward::field(pod, facts, &field.field_path)
            .map(Some)
            .map_err(EnvError::Field);
    }
    if let Some(resource) = &from.resource_field_ref {
        return downward::resource(pod, Some(container), facts, resource)
            .map(Some)
            .map_err(EnvError::Field);
    }
    let missing = |key: &str, kind: &'static str, name: &str| EnvError::KeyNotFound {
        key: key.to_owned(),
        kind,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    if let Some(selector) = &from.config_map_key_ref {
        let optional = selector.optional == Some(true);
        let Some(map) = sources.config_maps.get(&selector.name) else {
            return if optional {
                Ok(None)
            } else {
                Err(not_found("configmap", &selector.name))
            };
        };
        return match map.data.as_ref().and_then(|data| data.get(&selector.key)) {
            Some(value) => Ok(Some(value.clone())),
            None if optional => Ok(None),
            None => Err(missing(&selector.key, "ConfigMap", &selector.name)),
        };
    }
    if let Some(selector) = &from.secret_key_ref {
        let optional = selector.optional == Some(true);
        let Some(secret) = sources.secrets.get(&selector.name) else {
            return if optional {
                Ok(None)
            } else {
                Err(not_found("secret", &selector.name))
            };
        };
        return match lookup(secret.data.as_ref(), &selector.key) {
            Some(value) => text(&variable.name, value).map(Some),
            None if optional => Ok(None),
            None => Err(missing(&selector.key, "Secret", &selector.name)),
        };
    }
    if let Some(selector) = &from.file_key_ref {
        return file_value(selector, sources);
    }
    Err(EnvError::Field(format!(
        "environment variable {}: valueFrom names no source",
        variable.name
    )))
}

/// An empty value counts as none; what is optional is the key, not the file.
fn file_value(selector: &FileKeySelector, sources: &Sources) -> Result<Option<String>, EnvError> {
    let name = (selector.volume_name.clone(), selector.path.clone());
    let Some(file) = sources.env_files.get(&name) else {
        return Err(EnvError::NoFileVolume(selector.volume_name.clone()));
    };
    match file.values.get(&selector.key) {
        Some(value) if !value.is_empty() => Ok(Some(value.clone())),
        None if file.is_damaged => Err(EnvError::BadFile),
        _ if selector.optional == Some(true) => Ok(None),
        _ => Err(EnvError::NotInFile {
            key: selector.key.clone(),
            file: file.path.clone(),
        }),
    }
}

fn not_found(kind: &'static str, name: &str) -> EnvError {
    EnvError::SourceNotFound {
        kind,
        name: name.to_owned(),
    }
}

fn text(name: &str, bytes: &[u8]) -> Result<String, EnvError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| EnvError::NotText(name.to_owned()))
}

/// Replaces `$(NAME)`; `$$` is a `$`, so `$$(NAME)` stays as `$(NAME)`; what is unknown stays as it is written.
/// Source: Kubernetes' `third_party/forked/golang/expansion`.
pub fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match lookup(name) {
                Some(value) => out.push_str(&value),
                None => out.extend(["$(", name, ")"]),
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out + rest
}

/// Variables of the services that a pod sees: those of its namespace (unless `enableServiceLinks: false`) and
/// `default/kubernetes`. Headless services have no address and so no variables.
pub fn service_environment(pod: &Pod, services: &[Service]) -> Vec<(String, String)> {
    let links = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.enable_service_links)
        .unwrap_or(true);
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let mut chosen: BTreeMap<&str, &Service> = BTreeMap::new();
    for service in services {
        let own = service.metadata.namespace.as_deref().unwrap_or("default");
        let name = service.metadata.name.as_deref().unwrap_or("");
        // The namespace's own `kubernetes` service wins over the default one.
        if own == namespace && links {
            chosen.insert(name, service);
        } else if own == "default" && name == "kubernetes" {
            chosen.entry(name).or_insert(service);
        }
    }
    chosen
        .into_iter()
        .flat_map(|(name, service)| variables_of(name, service))
        .collect()
}

fn variables_of(name: &str, service: &Service) -> Vec<(String, String)> {
    let Some(spec) = &service.spec else {
        return Vec::new();
    };
    let address = spec.cluster_ip.as_deref().unwrap_or("");
    let ports = spec.ports.as_deref().unwrap_or_default();
    let (true, Some(first)) = (!matches!(address, "" | "None"), ports.first()) else {
        return Vec::new();
    };
    let upper = |text: &str| text.to_uppercase().replace('-', "_");
    let name = upper(name);
    let mut list = vec![
        (format!("{name}_SERVICE_HOST"), address.to_owned()),
        (format!("{name}_SERVICE_PORT"), first.port.to_string()),
    ];
    for port in ports {
        if let Some(port_name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            list.push((
                format!("{name}_SERVICE_PORT_{}", upper(port_name)),
                port.port.to_string(),
            ));
        }
    }
    // The form of Docker's links.
    let host = if address.contains(':') {
        format!("[{address}]")
    } else {
        address.to_owned()
    };
    for (place, port) in ports.iter().enumerate() {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let url = format!("{}://{host}:{}", protocol.to_lowercase(), port.port);
        if place == 0 {
            list.push((format!("{name}_PORT"), url.clone()));
        }
        let prefix = format!("{name}_PORT_{}_{}", port.port, protocol.to_uppercase());
        list.push((prefix.clone(), url));
        list.push((format!("{prefix}_PROTO"), protocol.to_lowercase()));
        list.push((format!("{prefix}_PORT"), port.port.to_string()));
        list.push((format!("{prefix}_ADDR"), address.to_owned()));
    }
    list
}

#[cfg(test)]
mod tests;
