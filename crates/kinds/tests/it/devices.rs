//! Devices: classes of them, claims for them, and slices that drivers tell of them.

use crate::printed::line;
use crate::{now, prepared, rules, wrong, wrong_update};
use insta::assert_snapshot;
use kinds::Write;
use kinds::deviceclass::DEVICECLASSES;
use kinds::resourceclaim::RESOURCECLAIMS;
use kinds::resourceclaimtemplate::RESOURCECLAIMTEMPLATES;
use kinds::resourceslice::RESOURCESLICES;
use serde_json::{Value, json};

fn named(more: Value) -> Value {
    let mut object = json!({"metadata": {"name": "a", "creationTimestamp": "2026-11-21T09:59:00Z"}});
    crate::merge(&mut object, &more);
    object
}

fn opaque() -> Value {
    json!({"opaque": {"driver": "d.example.com", "parameters": {"a": 1}}})
}

fn request() -> Value {
    json!({"name": "r", "exactly": {"deviceClassName": "gpu"}})
}

fn claim() -> Value {
    named(json!({"spec": {"devices": {"requests": [request()]}}}))
}

fn devices(devices: Value) -> Value {
    json!({"spec": {"devices": devices}})
}

fn exactly(more: Value) -> Value {
    let mut one = request();
    crate::merge(&mut one, &json!({"exactly": more}));
    json!({"requests": [one]})
}

/// What is wrong with what claims and templates ask for.
fn asked_wrongly() -> Vec<Value> {
    let alternative = json!({"name": "x", "deviceClassName": "gpu"});
    vec![
        json!({"requests": [{"name": "Bad"}]}),
        json!({"requests": [request(), request()]}),
        json!({"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu"}, "firstAvailable": [alternative]}]}),
        json!({"requests": [{"name": "r", "firstAvailable": [alternative, alternative]}]}),
        exactly(json!({"deviceClassName": "", "allocationMode": "Some", "selectors": [{}]})),
        exactly(json!({"allocationMode": "All", "count": 2})),
        exactly(
            json!({"count": -1, "tolerations": [{"key": "a b", "operator": "Exists", "value": "x", "effect": "Never"}, {"value": "-", "operator": "Equal"}]}),
        ),
        exactly(json!({"selectors": [{"cel": {"expression": "x".repeat(10 * 1024 + 1)}}]})),
        json!({"requests": [request()], "constraints": [{"requests": ["r", "r", "s", "r/x/y"]}, {"matchAttribute": "a"}, {"distinctAttribute": "A_/b-c"}]}),
        json!({"requests": [request()], "config": [{"requests": ["none"]}, {"opaque": {"driver": "", "parameters": [1]}}, {"opaque": {"driver": "d"}}]}),
    ]
}

#[test]
fn wrong_claims() {
    let changes: Vec<Value> = asked_wrongly().into_iter().map(devices).collect();
    let told = wrong(RESOURCECLAIMS, &claim(), &changes);
    let short: Vec<String> = told
        .lines()
        .map(|line| line.chars().take(400).collect())
        .collect();
    assert_snapshot!(short.join("\n"));
    let updates = [devices(exactly(json!({"count": 2})))];
    assert_snapshot!(
        "claim_for_devices_changed",
        wrong_update(RESOURCECLAIMS, Write::Update, &claim(), &updates)
    );
}

#[test]
fn wrong_claim_templates() {
    let base = named(json!({"spec": {"spec": {"devices": {"requests": [request()]}}}}));
    let asked = asked_wrongly()
        .into_iter()
        .map(|wrong| json!({"spec": {"spec": {"devices": wrong}}}));
    let mut changes: Vec<Value> = asked.take(7).collect();
    changes.push(json!({"spec": {"metadata": {"name": "x", "finalizers": ["a"], "labels": {"a b": "c"}}}}));
    assert_snapshot!(wrong(RESOURCECLAIMTEMPLATES, &base, &changes));
    let updates = [json!({"spec": {"metadata": {"labels": {"a": "b"}}}})];
    assert_snapshot!(
        "claim_template_changed",
        wrong_update(RESOURCECLAIMTEMPLATES, Write::Update, &base, &updates)
    );
}

const UID: &str = "11111111-2222-3333-4444-555555555555";

fn allocated() -> Value {
    let result = json!({"request": "r", "driver": "d", "pool": "p", "device": "v"});
    let mut claim = claim();
    claim["status"] = json!({"allocation": {"devices": {"results": [result]}}});
    claim
}

#[test]
fn what_a_claims_status_may_say() {
    let fresh = claim();
    let allocation = |more: Value| {
        let mut result = json!({"request": "r", "driver": "d", "pool": "p", "device": "v"});
        crate::merge(&mut result, &more);
        json!({"status": {"allocation": {"devices": {"results": [result]}}}})
    };
    let of_fresh = [
        allocation(json!({})),
        allocation(json!({"request": "none", "driver": "", "pool": "/", "device": "V"})),
        allocation(json!({"shareID": "x"})),
        allocation(json!({"shareID": UID.to_uppercase().replace('1', "A")})),
        allocation(json!({"bindingConditions": ["a", "a", "b c"], "bindingFailureConditions": ["a"]})),
        allocation(json!({"bindingFailureConditions": ["a"]})),
        json!({"status": {"allocation": {"devices": {"config": [{"source": "Me"}]}, "nodeSelector": {"nodeSelectorTerms": []}}}}),
        json!({"status": {"reservedFor": [{"resource": "pods", "name": "a", "uid": "u"}, {"uid": "u"}]}}),
    ];
    let of_allocated = [
        allocation(json!({"device": "other"})),
        json!({"status": {"devices": [{"driver": "d", "pool": "p", "device": "w"}, {"driver": "d", "pool": "p", "device": "w"}]}}),
        json!({"status": {"devices": [{"driver": "d", "pool": "p", "device": "v", "data": [1], "conditions": [{"type": "a b", "status": "Maybe", "reason": "-"}],
            "networkData": {"ips": ["10.0.0.1", "10.0.0.01/8", "fd00::1/64"], "interfaceName": "i".repeat(257)}}]}}),
    ];
    let told = wrong_update(RESOURCECLAIMS, Write::Status, &fresh, &of_fresh)
        + &wrong_update(RESOURCECLAIMS, Write::Status, &allocated(), &of_allocated);
    assert_snapshot!(told);
    let mut freed = allocated();
    freed["status"] = json!({"devices": [{"driver": "d", "pool": "p", "device": "v"}]});
    rules(RESOURCECLAIMS).prepare(Write::Status, &mut freed, Some(&allocated()), now());
    assert_eq!(freed["status"], json!({}), "what is freed has nothing to tell");
}

#[test]
fn wrong_device_classes() {
    let base = named(json!({"spec": {"config": [opaque()], "extendedResourceName": "example.com/gpu"}}));
    let many: Vec<Value> = (0..33).map(|_| opaque()).collect();
    let config = |parameters: Value| json!({"spec": {"config": [{"opaque": {"driver": "d", "parameters": parameters}}]}});
    let changes = [
        json!({"spec": {"selectors": [{}]}}),
        json!({"spec": {"config": [{}]}}),
        json!({"spec": {"config": many}}),
        config(json!("text")),
        config(json!({"a": "b".repeat(10 * 1024)})),
        json!({"spec": {"config": [{"opaque": {"driver": "D x", "parameters": {}}}]}}),
        json!({"spec": {"extendedResourceName": "cpu"}}),
        json!({"spec": {"extendedResourceName": "requests.example.com/x"}}),
    ];
    let told = wrong(DEVICECLASSES, &base, &changes);
    let short: Vec<String> = told
        .lines()
        .map(|line| line.chars().take(200).collect())
        .collect();
    assert_snapshot!(short.join("\n"));
}

fn slice() -> Value {
    let pool = json!({"name": "p", "generation": 1, "resourceSliceCount": 1});
    named(
        json!({"spec": {"driver": "d.example.com", "nodeName": "n", "pool": pool, "devices": [{"name": "a"}]}}),
    )
}

fn device(more: Value) -> Value {
    let mut device = json!({"name": "a"});
    crate::merge(&mut device, &more);
    json!({"spec": {"devices": [device]}})
}

#[test]
fn wrong_slices() {
    let shared = |policy: Value| {
        device(
            json!({"allowMultipleAllocations": true, "capacity": {"m": {"value": "10", "requestPolicy": policy}}}),
        )
    };
    let changes = [
        json!({"spec": {"driver": "", "pool": {"name": "", "generation": -1, "resourceSliceCount": 0}}}),
        json!({"spec": {"nodeName": null}}),
        json!({"spec": {"nodeName": "", "allNodes": false}}),
        json!({"spec": {"allNodes": true, "nodeSelector": {"nodeSelectorTerms": [{}, {}]}}}),
        json!({"spec": {"sharedCounters": [{"name": "C"}, {"name": ""}]}}),
        json!({"spec": {"devices": [{"name": "A"}, {"name": "b"}, {"name": "b"}]}}),
        device(
            json!({"attributes": {"a b": {"int": 1}, "x/y": {"string": "s".repeat(65)}, "/z": {}, "v": {"version": "1"}, "two": {"int": 1, "bool": true}}}),
        ),
        device(json!({"capacity": {"m": {"value": "1", "requestPolicy": {}}}})),
        shared(json!({"default": "3", "validValues": ["2", "1", "11", "1"]})),
        shared(json!({"validValues": ["1"]})),
        shared(json!({"default": "1", "validRange": {"min": "2", "max": "11", "step": "20"}})),
        shared(json!({"default": "1", "validRange": {}})),
        shared(json!({"default": "1", "validValues": ["1"], "validRange": {"min": "1"}})),
        device(json!({"taints": [{"key": "", "value": "-", "effect": "Never"}, {"key": "a"}]})),
        device(
            json!({"consumesCounters": [{"counterSet": "", "counters": {}}, {"counterSet": "C", "counters": {"X": {"value": "1"}}}]}),
        ),
        device(json!({"nodeName": "n"})),
        json!({"spec": {"nodeName": null, "perDeviceNodeSelection": true, "devices": [{"name": "a"}, {"name": "b", "nodeName": "n", "allNodes": true}]}}),
    ];
    assert_snapshot!(wrong(RESOURCESLICES, &slice(), &changes));
    let updates = [json!({"spec": {"driver": "other", "nodeName": "m", "pool": {"name": "q"}}})];
    assert_snapshot!(
        "slice_changed",
        wrong_update(RESOURCESLICES, Write::Update, &slice(), &updates)
    );
}

#[test]
fn printed_and_filled_in() {
    let mut reserved = allocated();
    reserved["status"]["reservedFor"] = json!([{"resource": "pods", "name": "p", "uid": "u"}]);
    let mut deleted = claim();
    deleted["metadata"]["deletionTimestamp"] = "2026-11-21T09:59:30Z".into();
    let lines = [
        line(RESOURCECLAIMS, &claim()),
        line(RESOURCECLAIMS, &allocated()),
        line(RESOURCECLAIMS, &reserved),
        line(RESOURCECLAIMS, &deleted),
        line(RESOURCECLAIMTEMPLATES, &claim()),
        line(DEVICECLASSES, &named(json!({}))),
        line(RESOURCESLICES, &slice()),
        prepared(RESOURCECLAIMS, claim()).to_string(),
        prepared(
            RESOURCESLICES,
            device(json!({"taints": [{"key": "a", "effect": "None"}]})),
        )
        .to_string(),
    ];
    assert_snapshot!(lines.join("\n"));
    let upper = json!({"spec": {"driver": "D"}});
    assert_eq!(
        rules(RESOURCESLICES).warnings(&upper, None),
        ["spec.driver: driver names should be lowercase; \"D\" contains uppercase characters"]
    );
}
