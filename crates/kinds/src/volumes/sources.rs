//! Where storage can come from, as far as a pod's volume and a PersistentVolume say it alike.
//! Source: core/v1 API reference; the paths and words are upstream's, its oddities included.

use crate::check::{self, in_range, one_of_given, required};
use crate::json::{get, has, int, is_true, list, members, number, some, string};
use meta::{Errors, Path};
use serde_json::Value;

/// Who has the source.
#[derive(Clone, Copy)]
pub(crate) enum Holder<'a> {
    /// A pod's volume.
    Pod,
    /// A PersistentVolume of this name.
    Volume(&'a str),
}

const FEW_CHARACTERS: &str = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";
const HOST_AND_PORT: &str = "must be a host:port pair or multiple pairs separated by commas";

/// Fields that a source must have; of lists, at least one item.
const MUST: [(&str, &[&str]); 14] = [
    ("gcePersistentDisk", &["pdName"]),
    ("awsElasticBlockStore", &["volumeID"]),
    ("gitRepo", &["repository"]),
    ("iscsi", &["targetPortal"]),
    ("glusterfs", &["endpoints", "path"]),
    ("rbd", &["monitors", "image"]),
    ("flexVolume", &["driver"]),
    ("cinder", &["volumeID"]),
    ("cephfs", &["monitors"]),
    ("azureFile", &["secretName", "shareName"]),
    ("vsphereVolume", &["volumePath"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
];

/// What upstream calls a source in its errors.
pub(crate) fn source_path(kind: &str, holder: &Path) -> Path {
    holder.child(match kind {
        "gcePersistentDisk" => "persistentDisk",
        kind => kind,
    })
}

/// A source of this kind at `path`, the path of its own field.
pub(crate) fn check_source(kind: &str, source: &Value, holder: Holder, path: &Path, errors: &mut Errors) {
    let must = MUST.iter().find(|(k, _)| *k == kind).map_or(&[][..], |(_, m)| m);
    for field in must {
        if string(source, field).is_empty() && list(source, field).is_empty() {
            errors.required(&path.child(field), "");
        }
    }
    match kind {
        "hostPath" => host_path(source, path, errors),
        "gcePersistentDisk" | "awsElasticBlockStore" => {
            let partition = number(source, "partition");
            if !(0..=255).contains(&partition) {
                let detail = "must be between 1 and 255, inclusive";
                errors.invalid(&path.child("partition"), partition, detail);
            }
        }
        "gitRepo" => descending(string(source, "directory"), &path.child("directory"), errors),
        "nfs" => nfs(source, path, errors),
        "iscsi" => iscsi(source, holder, path, errors),
        "flexVolume" => options(source, path, errors),
        "flocker" => flocker(source, path, errors),
        "fc" => fibre_channel(source, path, errors),
        "quobyte" => quobyte(source, path, errors),
        "azureDisk" => azure_disk(source, path, errors),
        "storageos" => storage_os(source, path, errors),
        _ => {}
    }
    of_holder(kind, source, holder, path, errors);
}

/// What differs between pods and PersistentVolumes: in these, Secrets are named with their namespace.
fn of_holder(kind: &str, source: &Value, holder: Holder, path: &Path, errors: &mut Errors) {
    let secret = some(source, "secretRef").map(|secret| (secret, path.child("secretRef")));
    match (kind, holder, secret) {
        ("cinder" | "storageos", Holder::Pod, Some((secret, path))) => {
            required(secret, "name", &path, errors);
        }
        ("cinder" | "storageos", Holder::Volume(_), Some((secret, path))) => {
            required(secret, "name", &path, errors);
            required(secret, "namespace", &path, errors);
        }
        ("azureFile", Holder::Volume(_), _) if has(source, "secretNamespace") => {
            required(source, "secretNamespace", path, errors);
        }
        ("glusterfs", Holder::Volume(_), _) if has(source, "endpointsNamespace") => {
            let (namespace, path) = (
                string(source, "endpointsNamespace"),
                path.child("endpointsNamespace"),
            );
            if namespace.is_empty() {
                let detail = "if the endpointnamespace is set, it must be a valid namespace name";
                errors.invalid(&path, namespace, detail);
            } else {
                check::dns_label(&path, namespace, errors);
            }
        }
        ("csi", Holder::Volume(_), _) => csi_volume(source, path, errors),
        ("csi", Holder::Pod, _) => csi_inline(source, path, errors),
        _ => {}
    }
}

fn host_path(source: &Value, path: &Path, errors: &mut Errors) {
    let host = string(source, "path");
    if host.is_empty() {
        errors.required(&path.child("path"), "");
        return;
    }
    no_backsteps(host, &path.child("path"), errors);
    let kinds = [
        "",
        "BlockDevice",
        "CharDevice",
        "Directory",
        "DirectoryOrCreate",
        "File",
        "FileOrCreate",
        "Socket",
    ];
    one_of_given(source, "type", &kinds, path, errors);
}

fn nfs(source: &Value, path: &Path, errors: &mut Errors) {
    required(source, "server", path, errors);
    required(source, "path", path, errors);
    let export = string(source, "path");
    if !export.starts_with('/') {
        errors.invalid(&path.child("path"), export, "must be an absolute path");
    }
}

fn iscsi(source: &Value, holder: Holder, path: &Path, errors: &mut Errors) {
    let (portal, iqn) = (string(source, "targetPortal"), string(source, "iqn"));
    let initiator = some(source, "initiatorName").and_then(Value::as_str);
    let prefix = match holder {
        Holder::Pod => "must be valid format starting with iqn, eui, or naa",
        Holder::Volume(name) => {
            if is_iscsi_name_too_long(name, source) {
                errors.invalid(&path.child("targetportal"), portal, FEW_CHARACTERS);
            }
            "must be valid format"
        }
    };
    match iqn {
        "" => errors.required(&path.child("iqn"), ""),
        iqn => iscsi_name(iqn, prefix, &path.child("iqn"), errors),
    }
    in_range(number(source, "lun"), 0, 255, &path.child("lun"), errors);
    let chap = is_true(source, "chapAuthDiscovery") || is_true(source, "chapAuthSession");
    if chap && !has(source, "secretRef") {
        errors.required(&path.child("secretRef"), "");
    }
    if let (Holder::Volume(_), Some(secret)) = (holder, some(source, "secretRef")) {
        required(secret, "name", &path.child("secretRef"), errors);
    }
    if let Some(initiator) = initiator {
        iscsi_name(initiator, prefix, &path.child("initiatorname"), errors);
    }
}

/// What is said of a pod's volume even where this is not its only source.
pub(crate) fn check_iscsi_name(volume: &str, source: &Value, path: &Path, errors: &mut Errors) {
    if is_iscsi_name_too_long(volume, source) {
        errors.invalid(&path.child("name"), volume, FEW_CHARACTERS);
    }
}

fn is_iscsi_name_too_long(volume: &str, source: &Value) -> bool {
    has(source, "initiatorName") && volume.len() + 1 + string(source, "targetPortal").len() > 64
}

/// Names of initiators and targets: `iqn.`, `eui.` or `naa.` and what belongs to it (RFC 3720).
fn iscsi_name(text: &str, prefix: &str, path: &Path, errors: &mut Errors) {
    let detail = match text.get(..3) {
        Some("iqn") if is_iqn(text) => return,
        Some("eui") if is_alphanumeric(text, 16) => return,
        Some("naa") if is_alphanumeric(text, 32) => return,
        Some("iqn" | "eui" | "naa") => "must be valid format",
        _ => prefix,
    };
    errors.invalid(path, text, detail);
}

/// Three letters, a separator and so many letters and digits.
fn is_alphanumeric(text: &str, count: usize) -> bool {
    let mut rest = text.chars().skip(4);
    text.chars().count() == count + 4 && rest.all(|c| c.is_ascii_alphanumeric())
}

/// `iqn.2001-04.com.example:storage`
fn is_iqn(text: &str) -> bool {
    let parse = || {
        let (date, rest) = text.strip_prefix("iqn.")?.split_at_checked(7)?;
        let (year, month) = date.split_once('-')?;
        let digits = |text: &str, count| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
        let (authority, name) = rest.strip_prefix('.')?.split_once(':')?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        let free = |c: char| !matches!(c, ',' | ';' | '*' | '&' | '$' | '|') && !c.is_ascii_whitespace();
        let good = digits(year, 4)
            && digits(month, 2)
            && !authority.is_empty()
            && authority.chars().all(plain)
            && !name.is_empty()
            && name.chars().all(free);
        Some(good)
    };
    parse() == Some(true)
}

fn options(source: &Value, path: &Path, errors: &mut Errors) {
    for (key, _) in members(source, "options") {
        let namespace = key
            .split_once('/')
            .map_or(key.as_str(), |(namespace, _)| namespace);
        let dotted = format!(".{}", namespace.to_lowercase());
        if dotted.ends_with(".kubernetes.io") || dotted.ends_with(".k8s.io") {
            let detail = "kubernetes.io and k8s.io namespaces are reserved";
            errors.invalid(&path.child("options").key(key), key.as_str(), detail);
        }
    }
}

fn flocker(source: &Value, path: &Path, errors: &mut Errors) {
    let (name, id) = (string(source, "datasetName"), string(source, "datasetUUID"));
    if name.is_empty() && id.is_empty() {
        errors.required(path, "one of datasetName and datasetUUID is required");
    }
    if !name.is_empty() && !id.is_empty() {
        let detail = "datasetName and datasetUUID can not be specified simultaneously";
        errors.invalid(path, "resource", detail);
    }
    if name.contains('/') {
        errors.invalid(&path.child("datasetName"), name, "must not contain '/'");
    }
}

fn fibre_channel(source: &Value, path: &Path, errors: &mut Errors) {
    let (targets, ids) = (list(source, "targetWWNs"), list(source, "wwids"));
    let path_targets = path.child("targetWWNs");
    if targets.is_empty() && ids.is_empty() {
        let detail = "must specify either targetWWNs or wwids, but not both";
        errors.required(&path_targets, detail);
    }
    if !targets.is_empty() && !ids.is_empty() {
        let detail = "targetWWNs and wwids can not be specified simultaneously";
        errors.invalid(&path_targets, targets.to_vec(), detail);
    }
    match int(source, "lun") {
        _ if targets.is_empty() => {}
        None => errors.required(&path.child("lun"), "lun is required if targetWWNs is specified"),
        Some(lun) => in_range(lun, 0, 255, &path.child("lun"), errors),
    }
}

fn quobyte(source: &Value, path: &Path, errors: &mut Errors) {
    let registry = string(source, "registry");
    if registry.is_empty() {
        errors.required(&path.child("registry"), HOST_AND_PORT);
    } else if string(source, "tenant").len() >= 65 {
        let detail = "must be a UUID and may not exceed a length of 64 characters";
        errors.required(&path.child("tenant"), detail);
    } else {
        for _ in registry.split(',').filter(|pair| !is_host_and_port(pair)) {
            errors.invalid(&path.child("registry"), registry, HOST_AND_PORT);
        }
    }
    required(source, "volume", path, errors);
}

/// `host:port` or `[address]:port`.
fn is_host_and_port(text: &str) -> bool {
    match text.strip_prefix('[') {
        Some(rest) => rest
            .split_once("]:")
            .is_some_and(|(_, port)| !port.contains([':', '[', ']'])),
        None => text.matches(':').count() == 1 && !text.contains(['[', ']']),
    }
}

fn azure_disk(source: &Value, path: &Path, errors: &mut Errors) {
    required(source, "diskName", path, errors);
    required(source, "diskURI", path, errors);
    let caching = ["None", "ReadOnly", "ReadWrite"];
    one_of_given(source, "cachingMode", &caching, path, errors);
    let kinds = ["Dedicated", "Managed", "Shared"];
    one_of_given(source, "kind", &kinds, path, errors);
    let Some(kind) = get(source, "kind").as_str() else {
        return;
    };
    let (start, shape) = match kind {
        "Managed" => (
            "/subscriptions/",
            "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}",
        ),
        _ => (
            "https://",
            "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd",
        ),
    };
    let uri = string(source, "diskURI");
    if !uri.starts_with(start) {
        errors.not_supported(&path.child("diskURI"), uri, &[shape]);
    }
}

fn storage_os(source: &Value, path: &Path, errors: &mut Errors) {
    match string(source, "volumeName") {
        "" => errors.required(&path.child("volumeName"), ""),
        name => check::dns_label(&path.child("volumeName"), name, errors),
    }
    let namespace = string(source, "volumeNamespace");
    if !namespace.is_empty() {
        check::dns_label(&path.child("volumeNamespace"), namespace, errors);
    }
}

fn driver(source: &Value, path: &Path, errors: &mut Errors) {
    check_driver(string(source, "driver"), &path.child("driver"), errors);
}

/// The name of a CSI driver.
pub(crate) fn check_driver(name: &str, path: &Path, errors: &mut Errors) {
    const MAX: usize = 63;
    if name.is_empty() {
        errors.required(path, "");
        return;
    }
    if name.len() > MAX {
        errors.too_long(path, MAX);
    }
    let wrong = meta::name::check_dns1123_subdomain(&name.to_lowercase());
    check::messages(path, name, wrong, errors);
}

fn csi_inline(source: &Value, path: &Path, errors: &mut Errors) {
    driver(source, path, errors);
    if let Some(secret) = some(source, "nodePublishSecretRef") {
        match string(secret, "name") {
            "" => errors.required(&path.child("nodePublishSecretRef").child("name"), ""),
            name => check::dns_subdomain(&path.child("name"), name, errors),
        }
    }
}

fn csi_volume(source: &Value, path: &Path, errors: &mut Errors) {
    driver(source, path, errors);
    required(source, "volumeHandle", path, errors);
    for field in [
        "controllerPublishSecretRef",
        "controllerExpandSecretRef",
        "nodePublishSecretRef",
        "nodeExpandSecretRef",
    ] {
        let Some(secret) = some(source, field) else {
            continue;
        };
        let path = path.child(field);
        match string(secret, "name") {
            "" => errors.required(&path.child("name"), ""),
            name => check::dns_subdomain(&path.child("name"), name, errors),
        }
        match string(secret, "namespace") {
            "" => errors.required(&path.child("namespace"), ""),
            name => check::dns_label(&path.child("namespace"), name, errors),
        }
    }
}

/// A path that stays below where it starts.
pub(crate) fn descending(text: &str, path: &Path, errors: &mut Errors) {
    if text.starts_with('/') {
        errors.invalid(path, text, "must be a relative path");
    }
    no_backsteps(text, path, errors);
}

pub(crate) fn no_backsteps(text: &str, path: &Path, errors: &mut Errors) {
    if text.split('/').any(|part| part == "..") {
        errors.invalid(path, text, "must not contain '..'");
    }
}
