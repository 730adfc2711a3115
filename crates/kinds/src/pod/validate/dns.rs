//! How a pod finds others by name: its resolver and its own table of hosts.

use crate::check;
use crate::json::{get, list, string};
use meta::{Errors, Path, name};
use serde_json::Value;

pub(super) fn config(spec: &Value, path: &Path, errors: &mut Errors) {
    let (config, path) = (get(spec, "dnsConfig"), path.child("dnsConfig"));
    let (servers, server_path) = (list(config, "nameservers"), path.child("nameservers"));
    if string(spec, "dnsPolicy") == "None" {
        if config.is_null() {
            let detail = "must provide `dnsConfig` when `dnsPolicy` is None";
            errors.required(&path, detail);
            return;
        }
        if servers.is_empty() {
            let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            errors.required(&server_path, detail);
            return;
        }
    }
    if servers.len() > 3 {
        let detail = "must not have more than 3 nameservers";
        errors.invalid(&server_path, servers.to_vec(), detail);
    }
    for (i, server) in servers.iter().enumerate() {
        check::ip(server.as_str().unwrap_or_default(), &server_path.index(i), errors);
    }
    searches(list(config, "searches"), &path.child("searches"), errors);
    for (i, option) in list(config, "options").iter().enumerate() {
        if string(option, "name").is_empty() {
            errors.required(&path.child("options").index(i), "must not be empty");
        }
    }
}

fn searches(searches: &[Value], path: &Path, errors: &mut Errors) {
    let texts: Vec<&str> = searches.iter().filter_map(Value::as_str).collect();
    if texts.len() > 32 {
        errors.invalid(path, searches.to_vec(), "must not have more than 32 search paths");
    }
    if texts.join(" ").len() > 2048 {
        let detail = "must not have more than 2048 characters (including spaces) in the search list";
        errors.invalid(path, searches.to_vec(), detail);
    }
    // A lone dot and a trailing one mean the root.
    for (i, search) in texts.iter().enumerate().filter(|(_, s)| **s != ".") {
        let search = search.strip_suffix('.').unwrap_or(search);
        let wrong = name::check_dns1123_subdomain_with_underscores(search);
        check::messages(&path.index(i), search, wrong, errors);
    }
}

pub(super) fn host_aliases(spec: &Value, path: &Path, errors: &mut Errors) {
    for (i, alias) in list(spec, "hostAliases").iter().enumerate() {
        let path = path.child("hostAliases").index(i);
        check::ip(string(alias, "ip"), &path.child("ip"), errors);
        for (i, host) in list(alias, "hostnames").iter().enumerate() {
            let host = host.as_str().unwrap_or_default();
            check::dns_subdomain(&path.child("hostnames").index(i), host, errors);
        }
    }
}
