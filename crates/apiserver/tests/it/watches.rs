//! LIST and WATCH together: pages are one revision, and a watch continues a list without a gap or a repeat.

use crate::world::World;
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const CONFIGMAPS: &str = "/api/v1/namespaces/default/configmaps";

/// The next events of a watch, until `count` are there.
async fn events(body: &mut apiserver::http::Body, count: usize) -> Vec<Value> {
    let mut text = Vec::new();
    loop {
        let lines: Vec<Value> = text
            .split_inclusive(|b| *b == b'\n')
            .filter(|l: &&[u8]| l.ends_with(b"\n"))
            .map(|l| serde_json::from_slice(l).expect("an event"))
            .collect();
        if lines.len() >= count {
            return lines;
        }
        let frame = tokio::time::timeout(Duration::from_secs(10), body.frame())
            .await
            .expect("events in time");
        let data: Bytes = frame
            .expect("no end")
            .expect("no error")
            .into_data()
            .expect("data");
        text.extend_from_slice(&data);
    }
}

async fn watch(world: &World, query: &str) -> apiserver::http::Body {
    let path = format!("{CONFIGMAPS}?watch=true&{query}");
    world
        .send(Request::get(path).body(Bytes::new()).expect("a request"))
        .await
        .into_body()
}

fn brief(events: &[Value]) -> Vec<String> {
    let one = |e: &Value| {
        let name = e["object"]["metadata"]["name"].as_str().unwrap_or("-");
        format!("{} {name}", e["type"].as_str().unwrap_or_default())
    };
    events.iter().map(one).collect()
}

#[tokio::test]
async fn selectors_turn_changes_into_arrivals_and_departures() {
    let world = World::new().await;
    world
        .json("POST", CONFIGMAPS, &json!({"metadata": {"name": "a"}}))
        .await;
    let mut body = watch(
        &world,
        "labelSelector=on&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
    )
    .await;
    for labels in [json!({"on": "1"}), json!({"on": "2"}), json!({"on": null})] {
        world
            .json(
                "PATCH",
                &format!("{CONFIGMAPS}/a"),
                &json!({"metadata": {"labels": labels}}),
            )
            .await;
    }
    world
        .json("DELETE", &format!("{CONFIGMAPS}/a"), &Value::Null)
        .await;
    world
        .json(
            "POST",
            CONFIGMAPS,
            &json!({"metadata": {"name": "b", "labels": {"on": ""}}}),
        )
        .await;
    let events = events(&mut body, 5).await;
    assert_eq!(
        brief(&events),
        ["BOOKMARK -", "ADDED a", "MODIFIED a", "DELETED a", "ADDED b"]
    );
    assert_eq!(
        events[0]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    assert_eq!(
        events[3]["object"]["metadata"]["labels"]["on"], "2",
        "as it was when it was last seen"
    );
}

#[tokio::test]
async fn a_watch_continues_a_list() {
    let world = World::new().await;
    for i in 0..30 {
        world
            .json(
                "POST",
                CONFIGMAPS,
                &json!({"metadata": {"name": format!("m{i:02}")}}),
            )
            .await;
    }
    let (mut state, mut token, mut revision) = (BTreeMap::new(), String::new(), String::new());
    for page in 0.. {
        let (code, list) = world
            .json(
                "GET",
                &format!("{CONFIGMAPS}?limit=7&continue={token}"),
                &Value::Null,
            )
            .await;
        assert_eq!(code, 200, "{list}");
        for item in list["items"].as_array().expect("items") {
            state.insert(item["metadata"]["name"].to_string(), item.clone());
        }
        revision = list["metadata"]["resourceVersion"]
            .as_str()
            .expect("a revision")
            .to_string();
        token = list["metadata"]["continue"]
            .as_str()
            .unwrap_or_default()
            .to_string();
        if token.is_empty() {
            break;
        }
        // Writes between pages are not seen by the pages.
        world
            .json(
                "POST",
                CONFIGMAPS,
                &json!({"metadata": {"name": format!("n{page}")}}),
            )
            .await;
        world
            .json("DELETE", &format!("{CONFIGMAPS}/m2{page}"), &Value::Null)
            .await;
    }
    assert_eq!(state.len(), 30);
    let mut body = watch(&world, &format!("resourceVersion={revision}")).await;
    for event in events(&mut body, 8).await {
        let name = event["object"]["metadata"]["name"].to_string();
        match event["type"].as_str() {
            Some("DELETED") => assert!(state.remove(&name).is_some(), "{name}"),
            _ => drop(state.insert(name, event["object"].clone())),
        }
    }
    let (_, list) = world.json("GET", CONFIGMAPS, &Value::Null).await;
    let now: Vec<&Value> = list["items"].as_array().expect("items").iter().collect();
    assert_eq!(state.values().collect::<Vec<_>>(), now);
}

#[tokio::test]
async fn what_is_compacted_is_gone() {
    let world = World::new().await;
    world
        .json("POST", CONFIGMAPS, &json!({"metadata": {"name": "a"}}))
        .await;
    world
        .json("POST", CONFIGMAPS, &json!({"metadata": {"name": "b"}}))
        .await;
    let (_, page) = world
        .json("GET", &format!("{CONFIGMAPS}?limit=1"), &Value::Null)
        .await;
    let token = page["metadata"]["continue"].as_str().expect("a token");
    world
        .json("POST", CONFIGMAPS, &json!({"metadata": {"name": "c"}}))
        .await;
    world.server.api().parts().store.compact(u64::MAX);
    let (code, answer) = world
        .json(
            "GET",
            &format!("{CONFIGMAPS}?limit=1&continue={token}"),
            &Value::Null,
        )
        .await;
    assert_eq!((code, answer["reason"].as_str()), (410, Some("Expired")));
    let mut body = watch(&world, "resourceVersion=1").await;
    let events = events(&mut body, 1).await;
    assert_eq!(
        (events[0]["type"].as_str(), events[0]["object"]["code"].as_u64()),
        (Some("ERROR"), Some(410))
    );
}

/// A watch that prints: only its first table names the columns, and bookmarks are rows that carry a revision alone.
#[tokio::test]
async fn a_watch_of_tables_names_its_columns_once() {
    let world = World::new().await;
    world
        .json("POST", CONFIGMAPS, &json!({"metadata": {"name": "a"}}))
        .await;
    let query = "allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&includeObject=None";
    let request = Request::get(format!("{CONFIGMAPS}?watch=true&labelSelector=!x&{query}"))
        .header("accept", "application/json;as=Table;v=v1beta1;g=meta.k8s.io");
    let response = world.send(request.body(Bytes::new()).expect("a request")).await;
    let events = events(&mut response.into_body(), 2).await;
    let lines: Vec<String> = events.iter().map(Value::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"));
}
