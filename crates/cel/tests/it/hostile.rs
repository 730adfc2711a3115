//! Input that means harm: it costs bounded time and memory, and never a panic or the stack.

use crate::tables::World;
use cel::{Budget, Env, EvalError, Type, Value, check, compile};
use proptest::prelude::*;

/// Runs with the stack that a worker thread has.
fn on_small_stack(run: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .stack_size(2 * 1024 * 1024)
            .spawn_scoped(scope, run);
        thread.expect("a thread").join().expect("no panic");
    });
}

fn eval(text: &str) -> Result<String, String> {
    let program = compile(text, &Env::new().bindings()).map_err(|error| error.to_string())?;
    let value = program
        .eval(&[], &mut Budget::default())
        .map_err(|error| error.to_string())?;
    Ok(crate::tables::show(&value))
}

const TOO_DEEP: &str = "ERROR: <input>:-1:0: expression recursion limit exceeded: 250";
const TOO_DEAR: &str = "operation cancelled: actual cost limit exceeded";

#[test]
fn nesting_has_a_limit() {
    on_small_stack(|| {
        let around = |open: &str, close: &str, n: usize| format!("{}1{}", open.repeat(n), close.repeat(n));
        for (open, close) in [
            ("(", ")"),
            ("[", "]"),
            ("[", "].size()"),
            ("f(", ")"),
            ("{1: ", "}"),
            ("-(", ")"),
        ] {
            let errors = check(&around(open, close, 2000), &Env::new())
                .err()
                .map(|errors| errors.to_string());
            assert_eq!(errors.as_deref(), Some(TOO_DEEP), "{open}");
        }
        for chain in [" + 1", " * 2", " == 1", ".a", "[0]", ".f()"] {
            let text = format!("1{}", chain.repeat(2000));
            let errors = check(&text, &Env::new()).err().map(|errors| errors.to_string());
            assert_eq!(errors.as_deref(), Some(TOO_DEEP), "{chain}");
        }
    });
}

#[test]
fn what_is_just_below_the_limit_runs() {
    on_small_stack(|| {
        let nested = format!("{}1{}", "(".repeat(200), ")".repeat(200));
        assert_eq!(eval(&nested).as_deref(), Ok("1"));
        let lists = format!("{}1{}.size()", "[".repeat(200), "]".repeat(200));
        assert_eq!(eval(&lists).as_deref(), Ok("1"));
        let sum = format!("1{}", " + 1".repeat(240));
        assert_eq!(eval(&sum).as_deref(), Ok("241"));
        let mixed = format!("{}1{}", "(1 + 1 * (1 < 2 ? 0 + ".repeat(25), " : 2))".repeat(25));
        assert_eq!(eval(&mixed).as_deref(), Ok("26"));
        let maps = format!("{}[1]{}", "[1].map(x, ".repeat(60), ")".repeat(60));
        assert!(eval(&maps).is_ok());
        let logic = format!("true{}", " && true || false".repeat(2000));
        assert_eq!(eval(&logic).as_deref(), Ok("true"));
    });
}

#[test]
fn text_has_a_limit() {
    let text = format!("'{}'", "a".repeat(100_000));
    let expected =
        "ERROR: <input>:-1:0: expression code point size exceeds limit: size: 100002, limit 100000";
    assert_eq!(eval(&text).unwrap_err(), expected);
}

#[test]
fn macros_do_not_explode() {
    on_small_stack(|| {
        let text = format!("optional.of(1){}", ".optMap(x, x)".repeat(40));
        assert!(eval(&text).unwrap_err().contains("too large"));
    });
}

#[test]
fn loops_end_at_the_limit() {
    let ten = "[0,1,2,3,4,5,6,7,8,9]";
    let mut nested = "true".to_string();
    for depth in 0..8 {
        nested = format!("{ten}.all(x{depth}, {nested})");
    }
    assert_eq!(eval(&nested).unwrap_err(), TOO_DEAR);
    let collected =
        format!("{ten}.map(a, {ten}.map(b, {ten}.map(c, {ten}.map(d, {ten}.map(e, {ten}.map(f, f))))))");
    assert_eq!(eval(&collected).unwrap_err(), TOO_DEAR);
}

#[test]
fn what_grows_by_itself_ends() {
    let mut strings = "s.size()".to_string();
    let mut lists = "s.map(x, x).size()".to_string();
    for _ in 0..60 {
        strings = format!("cel.bind(s, s + s, {strings})");
        lists = format!("cel.bind(s, s + s, {lists})");
    }
    on_small_stack(|| {
        assert_eq!(
            eval(&format!("cel.bind(s, 'aaaaaaaaaa', {strings})")).unwrap_err(),
            TOO_DEAR
        );
        assert_eq!(eval(&format!("cel.bind(s, [1], {lists})")).unwrap_err(), TOO_DEAR);
        for call in [
            "s.sum()",
            "s.sort()",
            "s.reverse()",
            "s.distinct()",
            "1 in s",
            "s == s",
            "s.join()",
            "s.isSorted()",
        ] {
            let call = call.replace("s.join()", "s.map(x, 'a').join()");
            let mut text = call.clone();
            for _ in 0..60 {
                text = format!("cel.bind(s, s + s, {text})");
            }
            assert_eq!(
                eval(&format!("cel.bind(s, [1, 2], {text})")).unwrap_err(),
                TOO_DEAR,
                "{call}"
            );
        }
    });
    assert_eq!(eval("lists.range(100000000000)").unwrap_err(), TOO_DEAR);
    let wide = "a".repeat(2000);
    let text = format!("'{wide}'.replace('a', '{wide}').replace('a', '{wide}')");
    assert_eq!(eval(&text).unwrap_err(), TOO_DEAR);
}

#[test]
fn patterns_are_bounded() {
    assert!(eval("'a'.matches('((a{1000}){1000}){1000}')").is_err());
    let text = format!("'{}'.matches('(a*)*b')", "a".repeat(20_000));
    assert_eq!(eval(&text).as_deref(), Ok("false"));
    let deep = format!("'a'.matches('{}a{}')", "(".repeat(5000), ")".repeat(5000));
    assert!(eval(&deep).is_err());
}

#[test]
fn a_budget_is_for_all_evaluations() {
    let program = compile("[1, 2, 3].map(x, x + 1).size() == 3", &Env::new()).expect("it compiles");
    let mut budget = Budget::new(1000, 150);
    let mut done = 0;
    let error = loop {
        match program.eval(&[], &mut budget) {
            Ok(_) => done += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((done, error, budget.left()), (3, EvalError::BudgetExceeded, 0));
}

/// Pieces that expressions are made of.
// LONG: a list of words.
fn pieces() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "self",
        "oldSelf",
        "any",
        ".",
        ".?",
        "name",
        "count",
        "names",
        "ports",
        "labels",
        "(",
        ")",
        "[",
        "]",
        "[?",
        "{",
        "}",
        ",",
        ":",
        "?",
        "+",
        "-",
        "*",
        "/",
        "%",
        "!",
        "==",
        "!=",
        "<",
        "<=",
        "in",
        "&&",
        "||",
        "1",
        "2u",
        "0.5",
        "'a'",
        "b'x'",
        "true",
        "null",
        "x",
        "has",
        "all",
        "exists",
        "map",
        "filter",
        "size",
        "matches",
        "format",
        "split",
        "optional",
        "of",
        "none",
        "orValue",
        "value",
        "cel",
        "bind",
        "quantity",
        "ip",
        "cidr",
        "duration",
        "timestamp",
        "'1h'",
        "\"",
        "\\",
        "`",
        "\n",
        " ",
        "日",
        "transformMap",
        "optMap",
        "sum",
        "sort",
        "Object",
        "JSONPatch",
        "dyn",
        "string",
        "int",
    ]);
    prop::collection::vec(words, 0..30).prop_map(|words| words.concat())
}

/// Expressions that mostly compile.
// LONG: lists of words and one arm a form.
fn expressions() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "1",
        "0",
        "-7",
        "2.5",
        "3u",
        "'abc'",
        "''",
        "b'ab'",
        "true",
        "false",
        "null",
        "[1, 2]",
        "['a']",
        "{'a': 1}",
        "self.name",
        "self.names",
        "self.count",
        "self.ratio",
        "self.ports",
        "self.labels",
        "any",
        "any.missing",
        "oldSelf",
        "self.when",
        "duration('1h')",
        "optional.none()",
        "9223372036854775807",
        "quantity('1Gi')",
        "ip('::1')",
        "x",
    ]);
    leaf.prop_map(String::from).prop_recursive(5, 40, 3, |inner| {
        let two = (inner.clone(), inner.clone());
        let operator = prop::sample::select(vec![
            "+", "-", "*", "/", "%", "==", "<", ">=", "in", "&&", "||", "!=",
        ]);
        let function = prop::sample::select(vec![
            "size",
            "sum",
            "min",
            "sort",
            "reverse",
            "distinct",
            "isSorted",
            "join",
            "lowerAscii",
            "trim",
            "getHours",
            "first",
            "flatten",
            "hasValue",
            "value",
            "asInteger",
            "family",
            "keys",
        ]);
        let wrap = prop::sample::select(vec![
            "dyn",
            "string",
            "int",
            "double",
            "type",
            "size",
            "optional.of",
            "-",
            "!",
        ]);
        let fold = prop::sample::select(vec!["all", "exists", "exists_one", "map", "filter", "sortBy"]);
        prop_oneof![
            (two.clone(), operator).prop_map(|((a, b), op)| format!("(dyn({a}) {op} dyn({b}))")),
            (two.clone(), prop::bool::ANY).prop_map(|((a, b), plain)| if plain {
                format!("[{a}][{b}]")
            } else {
                format!("dyn({a})[?{b}]")
            }),
            (inner.clone(), function).prop_map(|(a, f)| format!("dyn({a}).{f}()")),
            (inner.clone(), wrap).prop_map(|(a, f)| format!("{f}(dyn({a}))")),
            (two.clone(), fold).prop_map(|((a, b), f)| format!("dyn({a}).{f}(x, dyn({b}))")),
            (two.clone(), inner.clone()).prop_map(|((a, b), c)| format!("(dyn({a}) ? dyn({b}) : dyn({c}))")),
            two.prop_map(|(a, b)| format!("cel.bind(x, dyn({a}), dyn({b}))")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_answered(text in "\\PC{0,60}") {
        let world = World::new();
        world.run(&text);
    }

    #[test]
    fn any_pieces_are_answered(text in pieces()) {
        let world = World::new();
        world.run(&text);
    }

    #[test]
    fn what_compiles_runs_to_an_end(text in expressions()) {
        let world = World::new();
        let env = world.env.clone().variable("x", Type::Dyn);
        let Ok(checked) = check(&text, &env) else {
            return Ok(());
        };
        let Ok(program) = checked.program() else {
            return Ok(());
        };
        let [a, b, c] = world.vars();
        let vars = [a, b, c, Value::Int(1)];
        let mut budget = Budget::default();
        let first = program.eval(&vars, &mut budget).map(|value| crate::tables::show(&value));
        let cost = budget.last_cost();
        // The same program gives the same again, at the same cost.
        let second = program.eval(&vars, &mut budget).map(|value| crate::tables::show(&value));
        prop_assert_eq!(&first, &second);
        prop_assert_eq!(cost, budget.last_cost());
        // With less to spend it ends at the limit, and nowhere else.
        let mut poor = Budget::new(cost / 2, u64::MAX);
        let third = program.eval(&vars, &mut poor).map(|value| crate::tables::show(&value));
        if cost > 1 {
            prop_assert!(third == Err(EvalError::CostExceeded) || poor.last_cost() <= cost / 2);
        }
    }
}
