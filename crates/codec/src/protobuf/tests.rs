//! The decoder and the encoder against a small table, byte by byte.

use super::{Envelope, MAGIC, ProtobufError, Table};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A little writer, so that the tests do not read their own bytes back by the same code.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2, bytes.len() as u8];
    out.extend_from_slice(bytes);
    out
}

fn table() -> Table {
    let text = "@a.v1 a\n\
        a.v1.Pod: metadata=1 m a.v1.Meta; spec=2 m a.v1.Spec\n\
        a.v1.Meta: name=1 s; labels=11 %s\n\
        a.v1.Spec: source=1 ~m a.v1.Source; replicas=2 i*; port=3 i; list=4 +s; at=5 m meta.v1.Time; \
        size=6 m resource.Quantity; data=7 %y; raw=8 m runtime.RawExtension; ok=9 b; load=10 d*; target=11 m intstr.IntOrString\n\
        a.v1.Source: secret=1 m a.v1.Meta*\n\
        a.v1.Tree: name=1 s; branches=2 +m a.v1.Tree; numbers=3 +i\n";
    Table::parse(text).expect("a table")
}

fn body(raw: &[u8]) -> Vec<u8> {
    let mut envelope = MAGIC.to_vec();
    envelope.extend(field(1, &[field(1, b"a/v1"), field(2, b"Pod")].concat()));
    envelope.extend(field(2, raw));
    envelope
}

fn pod() -> Value {
    json!({"apiVersion": "a/v1", "kind": "Pod", "metadata": {"name": "web", "labels": {"app": "x"}},
        "spec": {"secret": {"name": "s"}, "replicas": 0, "list": ["p", "q"], "size": "1Gi", "target": 0}})
}

#[test]
fn fields_maps_lists_and_inlined_messages_read_as_json_would() {
    let labels = field(11, &[field(1, b"app"), field(2, b"x")].concat());
    let meta = field(1, &[field(1, b"web"), labels].concat());
    let source = field(1, &field(1, &field(1, b"s")));
    let spec = field(
        2,
        &[
            source,
            vec![2 << 3, 0],
            vec![3 << 3, 0],
            field(4, b"p"),
            field(4, b"q"),
            field(6, &field(1, b"1Gi")),
            field(11, &[]),
        ]
        .concat(),
    );
    let value = table().decode(&body(&[meta, spec].concat()), ("", ""));
    assert_eq!(value, Ok(pod()));
}

#[test]
fn all_that_is_no_pointer_and_no_list_is_written_in_the_order_of_the_numbers() {
    let (table, mut out) = (table(), Vec::new());
    let message = table.message("a/v1", "Pod").expect("known");
    table
        .encode(message, pod().to_string().as_bytes(), &mut out)
        .expect("encodes");
    let labels = field(11, &[field(1, b"app"), field(2, b"x")].concat());
    let meta = field(1, &[field(1, b"web"), labels].concat());
    let spec = [
        field(1, &field(1, &field(1, b"s"))),
        vec![2 << 3, 0],
        vec![3 << 3, 0],
        field(4, b"p"),
        field(4, b"q"),
        field(5, &[]),
        field(6, &field(1, b"1Gi")),
        field(8, &[]),
        vec![9 << 3, 0],
        field(11, b"\x08\0\x10\0\x1a\0"),
    ];
    assert_eq!(out, [meta, field(2, &spec.concat())].concat());
    out.clear();
    table.encode(message, b"{}", &mut out).expect("encodes");
    let spec = [
        field(1, &[]),
        vec![3 << 3, 0],
        field(5, &[]),
        field(6, b"\x0a\x010"),
        field(8, &[]),
        vec![9 << 3, 0],
        field(11, b"\x08\0\x10\0\x1a\0"),
    ];
    assert_eq!(out, [field(1, &field(1, &[])), field(2, &spec.concat())].concat());
}

#[test]
fn what_the_table_does_not_say_is_an_error_and_no_panic() {
    let table = table();
    let message = table.message("a/v1", "Pod").expect("known");
    for bad in [
        r#"{"spec":{"port":"x"}}"#,
        r#"{"spec":{"port":1.5}}"#,
        r#"{"spec":{"port":18446744073709551615}}"#,
        r#"{"spec":{"list":"x"}}"#,
        r#"{"spec":{"at":"yesterday"}}"#,
        r#"{"spec":{"data":{"a":"%"}}}"#,
        r#"{"metadata":[]}"#,
        r#"{"metadata":{"labels":{"a":{}}}}"#,
        "[]",
        "{}}",
        "",
    ] {
        let encoded = table.encode(message, bad.as_bytes(), &mut Vec::new());
        assert!(matches!(encoded, Err(ProtobufError::Mismatch(_))), "{bad}");
    }
    assert!(table.message("b/v1", "Pod").is_none());
}

#[test]
fn every_cut_of_a_body_is_an_error_or_a_smaller_object() {
    let labels = field(11, &[field(1, b"app"), field(2, b"x")].concat());
    let whole = body(&field(1, &[field(1, b"web"), labels].concat()));
    for cut in 0..whole.len() {
        // No panic is what counts; most cuts are errors.
        let read = table().decode(&whole[..cut], ("a/v1", "Pod"));
        assert!(read.is_err() || read.is_ok_and(|v| v.is_object()));
    }
    assert_eq!(table().decode(b"{}", ("", "")), Err(ProtobufError::NoMagic));
    assert_eq!(table().decode(MAGIC, ("", "")), Err(ProtobufError::Empty));
}

#[test]
fn bombs_are_refused() {
    let table = table();
    let tree = table.message("a/v1", "Tree").expect("known");
    let deep = (0..200).fold(Vec::new(), |inner: Vec<u8>, _| {
        let mut out = vec![2 << 3 | 2];
        let length = inner.len() as u32;
        out.extend([length as u8 | 0x80, (length >> 7) as u8]);
        out.extend(inner);
        out
    });
    let too_deep = table.decode_message(tree, &deep);
    assert!(matches!(too_deep, Err(ProtobufError::TooDeep(_))), "{too_deep:?}");
    let wide = [2 << 3 | 2, 0].repeat(600_000);
    assert!(matches!(
        table.decode_message(tree, &wide),
        Err(ProtobufError::TooMany(_))
    ));
    // Numbers that are packed, one byte each.
    let mut packed = vec![3 << 3 | 2, 0xc0, 0xcf, 0x24];
    packed.resize(4 + 600_000, 1);
    assert!(matches!(
        table.decode_message(tree, &packed),
        Err(ProtobufError::TooMany(_))
    ));
    for lie in [
        &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f][..],
        &[0x0a, 0x80],
        &[0xff; 12],
        &[0, 0],
        &[0x0b],
    ] {
        assert!(table.decode_message(tree, lie).is_err(), "{lie:x?}");
    }
    // Text within that is deeper than what is read back.
    let pod = table.message("a/v1", "Pod").expect("known");
    let text = "[".repeat(120) + &"]".repeat(120);
    let mut raw = vec![0x0a, 0xf0, 0x01];
    raw.extend_from_slice(text.as_bytes());
    let wrap = |number: u8, inner: &[u8]| [&[number << 3 | 2, inner.len() as u8 | 0x80, 1], inner].concat();
    let deep = table.decode_message(pod, &wrap(2, &wrap(8, &raw)));
    assert!(matches!(deep, Err(ProtobufError::TooDeep(_))), "{deep:?}");
}

#[test]
fn a_frame_says_how_long_it_is() {
    let mut out = Vec::new();
    let envelope = Envelope::new("a/v1", "Pod");
    envelope.event("ADDED", b"xyz", &mut out);
    let embedded = [&body(b"xyz")[..], b"\x1a\0\x22\0"].concat();
    assert_eq!(envelope.around(b"xyz"), embedded);
    let event = [field(1, b"ADDED"), field(2, &field(1, &embedded))].concat();
    assert_eq!(out, [&(event.len() as u32).to_be_bytes()[..], &event].concat());
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(raw in proptest::collection::vec(any::<u8>(), 0..300), at in 0..3usize) {
        let table = table();
        let kind = ["Pod", "Tree", "Spec"][at];
        let message = table.message("a/v1", kind).expect("known");
        if let Ok(value) = table.decode_message(message, &raw) {
            // What was read can be written, and reads back as the same.
            let mut out = Vec::new();
            table.encode(message, value.to_string().as_bytes(), &mut out).expect("encodes");
            let again = table.decode_message(message, &out).expect("decodes");
            let mut once_more = Vec::new();
            table.encode(message, again.to_string().as_bytes(), &mut once_more).expect("encodes");
            prop_assert_eq!(out, once_more);
        }
        table.decode(&[MAGIC, &raw].concat(), ("a/v1", kind)).ok();
    }
}
