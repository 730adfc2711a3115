//! Who somebody is: SelfSubjectReview (`kubectl auth whoami`) and TokenReview.

use super::Asks;
use crate::Rules;
use crate::json::{at, list, put, string};
use meta::Status;
use serde_json::{Value, json};

pub struct SelfSubject;

impl Rules for SelfSubject {
    fn is_question(&self) -> bool {
        true
    }

    fn answer(&self, question: &mut Value, asks: &dyn Asks) -> Result<(), Status> {
        put(question, "status", json!({"userInfo": asks.caller().to_value()}));
        Ok(())
    }
}

pub struct Token;

impl Rules for Token {
    fn is_question(&self) -> bool {
        true
    }

    fn answer(&self, question: &mut Value, asks: &dyn Asks) -> Result<(), Status> {
        let spec = at(question, "/spec");
        let token = string(spec, "token");
        if token.is_empty() {
            return Err(Status::bad_request(
                "token is required for TokenReview in authentication",
            ));
        }
        let audiences = list(spec, "audiences").iter().filter_map(Value::as_str);
        let audiences: Vec<String> = audiences.map(str::to_string).collect();
        let status = match asks.holder(token, &audiences) {
            Ok((user, audiences)) => {
                json!({"authenticated": true, "user": user.to_value(), "audiences": audiences})
            }
            Err(why) => json!({"user": {}, "error": why}),
        };
        put(question, "status", status);
        Ok(())
    }
}
