//! What callers build on: variables, lazy fields, the authorizer, estimates, schemas of built-in types.

use cel::{
    Asked, Authorizer, Budget, Decision, Decl, Env, EvalError, Fields, Map, Program, ResourceAsked, Type,
    Value, check, compile, escape, unescape,
};
use serde_json::json;
use std::sync::{Arc, Mutex};

fn program(text: &str, env: &Env) -> Program {
    compile(text, env).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn a_program_is_shared_between_threads() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Program>();
}

#[test]
fn a_program_says_what_it_names() {
    let env = Env::new()
        .variable("self", Type::Int)
        .variable("oldSelf", Type::Int);
    let program = program("self > 1", &env);
    assert_eq!(
        program.variables().collect::<Vec<_>>(),
        [("self", true), ("oldSelf", false)]
    );
    assert_eq!(program.output(), &Type::Bool);
}

struct Rules;

impl Authorizer for Rules {
    fn check(&self, account: Option<(&str, &str)>, verb: &str, what: &Asked) -> Decision {
        let reason = format!("{account:?} {verb} {what:?}");
        Decision {
            allowed: verb == "get",
            reason,
            error: (verb == "fail").then(|| "broken".to_string()),
        }
    }
}

fn authorized(text: &str) -> String {
    let kind = Type::object("kubernetes.authorization.Authorizer");
    let env = Env::new().variable("authorizer", kind);
    let value = program(text, &env).eval(&[Value::authorizer(&Rules)], &mut Budget::default());
    value.map_or_else(|error| error.to_string(), |value| value.to_string())
}

#[test]
fn the_authorizer_is_asked() {
    assert_eq!(
        authorized("authorizer.group('apps').resource('deployments').check('get').allowed()"),
        "true"
    );
    assert_eq!(
        authorized("authorizer.path('/healthz').check('list').allowed()"),
        "false"
    );
    assert_eq!(
        authorized("authorizer.path('/x').check('fail').error()"),
        "broken"
    );
    assert_eq!(
        authorized("authorizer.path(' ').check('get').allowed()"),
        "path must not be empty"
    );
    assert_eq!(
        authorized("authorizer.serviceAccount('a', 'B').path('/').check('get').allowed()"),
        "Invalid service account name"
    );
    insta::assert_snapshot!(authorized(
        "authorizer.serviceAccount('ns', 'sa').group('').resource('pods').subresource('log').namespace('ns').name('p')\
         .labelSelector('a=b').fieldSelector('c=d').check('get').reason()"
    ), @r#"Some(("ns", "sa")) get Resource(ResourceAsked { group: "", resource: "pods", subresource: "log", namespace: "ns", name: "p", field_selector: "c=d", label_selector: "a=b" })"#);
}

#[test]
fn a_question_costs_so_much_that_two_are_possible() {
    let ask = "authorizer.path('/a').check('get').allowed()";
    assert_eq!(authorized(&format!("{ask} && {ask}")), "true");
    let error = authorized(&format!("{ask} && {ask} && {ask}"));
    assert_eq!(error, "operation cancelled: actual cost limit exceeded");
}

#[test]
fn the_resource_of_a_request_can_be_asked_about() {
    let env = Env::new().variable("r", Type::object("kubernetes.authorization.ResourceCheck"));
    let asked = ResourceAsked {
        resource: "pods".to_string(),
        ..ResourceAsked::default()
    };
    let vars = [Value::request_resource(&Rules, asked)];
    let value = program("r.check('get').allowed()", &env).eval(&vars, &mut Budget::default());
    assert_eq!(value.expect("a value").as_bool(), Some(true));
}

struct Lazy(Mutex<Vec<String>>);

impl Fields for Lazy {
    fn field(&self, name: &str) -> Option<Result<Value<'_>, EvalError>> {
        self.0.lock().expect("no panic elsewhere").push(name.to_string());
        match name {
            "one" => Some(Ok(Value::Int(1))),
            "bad" => Some(Err(EvalError::Failed("bad: it failed".into()))),
            _ => None,
        }
    }
}

#[test]
fn lazy_fields_are_asked_for_when_they_are_needed() {
    let decl = Arc::new(Decl::object(
        "Variables",
        [("one", Decl::integer()), ("bad", Decl::dynamic())],
    ));
    let env = Env::new().declare("variables", &decl);
    let lazy = Lazy(Mutex::default());
    let vars = [Value::Map(Map::lazy(&lazy))];
    let eval = |text: &str| {
        let value = program(text, &env).eval(&vars, &mut Budget::default());
        value.map_or_else(|error| error.to_string(), |value| value.to_string())
    };
    assert_eq!(eval("variables.one == 1 || variables.bad"), "true");
    assert_eq!(eval("variables.bad == 1"), "bad: it failed");
    assert_eq!(*lazy.0.lock().expect("no panic elsewhere"), ["one", "bad"]);
}

#[test]
fn what_a_mutation_makes_becomes_json() {
    let env = Env::new().patches();
    let text = "[JSONPatch{op: 'add', path: '/a', value: {'k': [dyn(1), dyn(2.5), dyn('x'), dyn(null)]}}, JSONPatch{op: 'remove', path: '/b'}]";
    let value = program(text, &env)
        .eval(&[], &mut Budget::default())
        .expect("a value");
    let expected = json!([
        {"op": "add", "path": "/a", "value": {"k": [1, 2.5, "x", null]}},
        {"op": "remove", "path": "/b"}
    ]);
    assert_eq!(value.to_json(), Some(expected));
    let text = "Object{spec: Object.spec{a: 1, b: Object.spec.b{}}, metadata: Object.spec{}}";
    let value = program(text, &env)
        .eval(&[], &mut Budget::default())
        .expect("a value");
    let Value::Struct(object) = value else {
        panic!("an object")
    };
    assert_eq!(
        object.misnamed(),
        [
            r#"unexpected type name "Object.spec", expected "Object.metadata", which matches field name path from root Object type"#
        ]
    );
}

#[test]
fn functions_of_mutations_are_theirs_alone() {
    let errors = check("jsonpatch.escapeKey('a')", &Env::new())
        .err()
        .expect("an error")
        .to_string();
    assert!(errors.contains("undeclared reference to 'jsonpatch'"), "{errors}");
    let errors = check("cel.bind(x, 1, x)", &Env::new())
        .err()
        .expect("an error")
        .to_string();
    assert!(errors.contains("undeclared reference to 'bind'"), "{errors}");
}

#[test]
fn names_are_escaped_and_come_back() {
    for (name, ident) in [
        ("a", "a"),
        ("a-b", "a__dash__b"),
        ("a.b/c", "a__dot__b__slash__c"),
        ("a__b", "a__underscores__b"),
        ("namespace", "__namespace__"),
        ("_", "_"),
        ("__", "__underscores__"),
    ] {
        assert_eq!(escape(name).as_deref(), Some(ident));
        assert_eq!(unescape(ident).as_deref(), Some(name));
    }
    for name in ["", "1a", "a b", "é", "a$"] {
        assert_eq!(escape(name), None, "{name}");
    }
    assert_eq!(unescape("a__nope__b"), None);
    assert_eq!(unescape("x__namespace__"), None);
}

#[test]
fn data_that_do_not_fit_are_errors_where_they_are_read() {
    let schema = json!({"type": "object", "properties": {
        "a": {"type": "integer"}, "b": {"type": "string", "format": "date-time"}, "c": {"type": "array", "items": {"type": "string"}}
    }});
    let decl = Arc::new(Decl::from_json_schema(&schema, "t", false));
    let env = Env::new().declare("self", &decl);
    let object = json!({"a": "x", "b": "tomorrow", "c": [1]});
    let vars = [Value::typed(&object, &decl).expect("an object")];
    let eval = |text: &str| {
        let value = program(text, &env).eval(&vars, &mut Budget::default());
        value.map_or_else(|error| error.to_string(), |value| value.to_string())
    };
    insta::assert_snapshot!(["self.a", "self.b", "self.c[0]", "self.a == 1 || true", "has(self.a)"].map(eval).join("\n"), @r"
    invalid data, expected int, got string
    Invalid date-time formatted string tomorrow: cannot parse tomorrow as a time
    invalid data, expected string, got int64
    true
    invalid data, expected int, got string
    ");
}

#[test]
fn a_list_without_a_limit_makes_loops_dear() {
    let schema = |max: Option<i64>| {
        let mut list = json!({"type": "array", "items": {"type": "string"}});
        if let Some(max) = max {
            list["maxItems"] = max.into();
            list["items"]["maxLength"] = max.into();
        }
        json!({"type": "object", "properties": {"list": list}})
    };
    let estimate = |max| {
        let decl = Arc::new(Decl::from_json_schema(&schema(max), "t", false));
        let env = Env::new().declare("self", &decl);
        let checked = check(
            "self.list.all(x, self.list.all(y, x == y || x.contains(y)))",
            &env,
        )
        .expect("it checks");
        checked.estimate(&*decl).max
    };
    assert!(estimate(None) > 100 * cel::STATIC_ESTIMATED_COST_LIMIT);
    assert!(estimate(Some(10)) < cel::STATIC_ESTIMATED_COST_LIMIT);
}
