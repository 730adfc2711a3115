//! Requests for certificates.

use crate::printed::line;
use crate::{cluster, now, rules, wrong, wrong_update};
use insta::assert_snapshot;
use kinds::Write;
use kinds::certificatesigningrequest::{APPROVAL, CERTIFICATESIGNINGREQUESTS};
use kinds::review::User;
use serde_json::{Value, json};

/// A request of `CN=u, O=dev`, and a certificate.
const REQUEST: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIVk1Id0NBUUF3R2pFTU1Bb0dBMVVFQ2d3RFpHVjJNUW93Q0FZRFZRUUREQUYxTUZrd0V3WUhLb1pJemowQwpBUVlJS29aSXpqMERBUWNEUWdBRVE1UUhLQkdwWExvdExXM0lNZWRtTFFjVHE5cDkrY05VckJBWkFEenUzS0FICkpNWEFvZzlzMkhMVU1kR3hUbzY4S05EdldPMVlYM0x3R2VDNnlhdzlBS0FBTUFvR0NDcUdTTTQ5QkFNQ0Ewa0EKTUVZQ0lRRERPcjY5cE01RGpVc3ZOT3VxQUh4MGt2Y2dieXhQYnRpZU1Yam5tWno1cVFJaEFPa3JOUXpnMXk3UgppckZ1YUFvdm50cERYeFU5cEZSZFU1NDNnZ0J0QUV5WgotLS0tLUVORCBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K";
const CERTIFICATE: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUJpVENDQVMrZ0F3SUJBZ0lVVk1KSG5lV2cyaitaSEVhTkhYcjhLdEN3UXpjd0NnWUlLb1pJemowRUF3SXcKR2pFTU1Bb0dBMVVFQ2d3RFpHVjJNUW93Q0FZRFZRUUREQUYxTUI0WERUSTJNVEV5TWpBMU1Ua3pNbG9YRFRNMQpNREl3T0RBMU1Ua3pNbG93R2pFTU1Bb0dBMVVFQ2d3RFpHVjJNUW93Q0FZRFZRUUREQUYxTUZrd0V3WUhLb1pJCnpqMENBUVlJS29aSXpqMERBUWNEUWdBRVE1UUhLQkdwWExvdExXM0lNZWRtTFFjVHE5cDkrY05VckJBWkFEenUKM0tBSEpNWEFvZzlzMkhMVU1kR3hUbzY4S05EdldPMVlYM0x3R2VDNnlhdzlBS05UTUZFd0hRWURWUjBPQkJZRQpGQlY1ZUpMc0FwRVNDSndTNGVHaEFKSXUxakIwTUI4R0ExVWRJd1FZTUJhQUZCVjVlSkxzQXBFU0NKd1M0ZUdoCkFKSXUxakIwTUE4R0ExVWRFd0VCL3dRRk1BTUJBZjh3Q2dZSUtvWkl6ajBFQXdJRFNBQXdSUUloQVBkT2M4MUsKbzF1MlFSVTZ1b1ArOTFBajlRc1VFeFYyUjN3R0RrTlcxeURuQWlCUFZESWdVUGpMRE8veFk1eGxnWUZqV3lhZQplY2FEbnhyRTVjZjAvTkhQYkE9PQotLS0tLUVORCBDRVJUSUZJQ0FURS0tLS0tCg==";

fn request() -> Value {
    json!({"metadata": {"name": "r", "creationTimestamp": "2026-11-21T09:59:00Z"},
        "spec": {"request": REQUEST, "signerName": "example.com/s", "usages": ["client auth"]}})
}

fn condition(kind: &str) -> Value {
    json!({"type": kind, "status": "True", "lastUpdateTime": "2026-11-21T09:00:00Z", "lastTransitionTime": "2026-11-21T09:00:00Z"})
}

#[test]
fn wrong_requests() {
    let spec = |spec: Value| json!({"spec": spec});
    let changes = [
        spec(json!({"request": null})),
        spec(json!({"request": CERTIFICATE})),
        spec(json!({"usages": []})),
        spec(json!({"usages": ["client auth", "fun", "client auth"]})),
        spec(json!({"signerName": ""})),
        spec(json!({"signerName": "kubernetes.io/legacy-unknown"})),
        spec(json!({"signerName": "example.com"})),
        spec(json!({"signerName": "Example/A_b"})),
        spec(json!({"expirationSeconds": 599})),
    ];
    assert_snapshot!(wrong(CERTIFICATESIGNINGREQUESTS, &request(), &changes));
}

#[test]
fn who_asks_is_who_calls() {
    let mut object = request();
    object["spec"]["username"] = "somebody-else".into();
    object["spec"]["extra"] = json!({"a": ["b"]});
    let maker = User {
        name: "ann".into(),
        groups: vec!["dev".into()],
        ..User::default()
    };
    rules(CERTIFICATESIGNINGREQUESTS).sign(&mut object, &maker);
    assert_eq!(object["spec"]["username"], "ann");
    assert_eq!(object["spec"]["groups"], json!(["dev"]));
    assert_eq!(object["spec"].get("extra"), None);
}

#[test]
fn what_each_subresource_may_change() {
    let res = CERTIFICATESIGNINGREQUESTS;
    let status = |conditions: Value| json!({"status": {"conditions": conditions}});
    let mut decided = request();
    decided["status"] = json!({"conditions": [condition("Approved")]});
    let both = status(json!([condition("Approved"), condition("Denied")]));
    let odd = status(
        json!([condition("Approved"), {"type": "", "status": "Maybe"}, {"type": "Failed", "status": "False"}, {"type": "X"}]),
    );
    let told = [
        wrong_update(
            res,
            Write::Status,
            &request(),
            &[status(json!([condition("Approved")]))],
        ),
        wrong_update(
            res,
            Write::Other(APPROVAL),
            &decided,
            &[both.clone(), odd.clone(), status(json!([]))],
        ),
        wrong_update(
            res,
            Write::Other(APPROVAL),
            &decided,
            &[json!({"status": {"certificate": CERTIFICATE}})],
        ),
        wrong_update(
            res,
            Write::Status,
            &decided,
            &[json!({"status": {"certificate": CERTIFICATE}})],
        ),
    ];
    assert_snapshot!(told.join(""));
    let checked = |object: Value| {
        let mut whole = decided.clone();
        crate::merge(&mut whole, &object);
        let mut errors = meta::Errors::new();
        rules(res).validate_replacement(&whole, &decided, &mut errors);
        crate::lines(&errors)
    };
    let garbage = json!({"status": {"certificate": "Z2FyYmFnZQ=="}});
    let key = json!({"status": {"certificate": REQUEST}});
    assert_snapshot!(
        "request_status_checked",
        [checked(both), checked(odd), checked(garbage), checked(key)].join("\n")
    );
}

#[test]
fn a_decision_is_kept_and_gets_its_times() {
    let rules = rules(CERTIFICATESIGNINGREQUESTS);
    let old = request();
    let mut approved = old.clone();
    approved["spec"]["signerName"] = "other.com/s".into();
    approved["status"] =
        json!({"certificate": CERTIFICATE, "conditions": [{"type": "Approved", "status": "True"}]});
    rules.prepare(Write::Other(APPROVAL), &mut approved, Some(&old), now());
    assert_eq!(approved["spec"], old["spec"]);
    assert_snapshot!(approved["status"].to_string());
    let mut issued = approved.clone();
    issued["status"] = json!({"certificate": CERTIFICATE, "conditions": [{"type": "Approved", "status": "True", "message": "forged"}]});
    rules.prepare(Write::Status, &mut issued, Some(&approved), now());
    assert_eq!(issued["status"]["conditions"], approved["status"]["conditions"]);
    assert_eq!(issued["status"]["certificate"], CERTIFICATE);
}

#[test]
fn nobody_becomes_an_administrator() {
    let mut object = request();
    object["spec"]["signerName"] = "kubernetes.io/kube-apiserver-client".into();
    let rules = rules(CERTIFICATESIGNINGREQUESTS);
    assert!(
        rules
            .admit(Write::Create, &mut object, None, &cluster(&[]))
            .is_ok()
    );
}

#[test]
fn printed() {
    let of = |more: Value| {
        let mut object = request();
        crate::merge(&mut object, &more);
        line(CERTIFICATESIGNINGREQUESTS, &object)
    };
    let status = |kinds: &[&str]| {
        let conditions: Vec<Value> = kinds.iter().map(|kind| condition(kind)).collect();
        json!({"status": {"conditions": conditions}})
    };
    let lines = [
        of(json!({"spec": {"username": "ann", "expirationSeconds": 7200}})),
        of(status(&["Approved"])),
        of(status(&["Approved", "Failed"])),
        of(status(&["Denied"])),
        of(json!({"status": {"conditions": [condition("Approved")], "certificate": CERTIFICATE}})),
    ];
    assert_snapshot!(lines.join("\n"));
}
