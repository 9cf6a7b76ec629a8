//! As much of executing GraphQL as the tests' shop needs.

use apollo_compiler::{
    ast::Value as Literal,
    executable::{Field, Selection, SelectionSet},
};
use serde_json::{Map, Value, json};

pub fn text(value: &Value) -> Option<&str> {
    value.as_str()
}

/// The fields of a selection; the tests' shop has no fragments at the root.
pub fn root_fields(set: &SelectionSet) -> Vec<&Field> {
    set.selections.iter().filter_map(Selection::as_field).map(|field| &**field).collect()
}

/// The arguments of a field as JSON, variables put in.
pub fn arguments(field: &Field, variables: &Value) -> Value {
    let arguments = field.arguments.iter();
    arguments
        .map(|argument| (argument.name.to_string(), literal(&argument.value, variables)))
        .collect::<Map<_, _>>()
        .into()
}

fn literal(value: &Literal, variables: &Value) -> Value {
    match value {
        Literal::Null => Value::Null,
        Literal::Enum(name) => json!(name.as_str()),
        Literal::Variable(name) => variables[name.as_str()].clone(),
        Literal::String(text) => json!(text),
        Literal::Int(number) => json!(number.as_str().parse::<i64>().unwrap()),
        Literal::Float(number) => json!(number.as_str().parse::<f64>().unwrap()),
        Literal::Boolean(value) => json!(value),
        Literal::List(items) => items.iter().map(|item| literal(item, variables)).collect(),
        Literal::Object(members) => members
            .iter()
            .map(|(name, value)| (name.to_string(), literal(value, variables)))
            .collect::<Map<_, _>>()
            .into(),
    }
}

/// What of `whole` was asked for: a field that was not is not answered.
pub fn project(whole: &Value, set: &SelectionSet) -> Value {
    match whole {
        Value::Array(items) => items.iter().map(|item| project(item, set)).collect(),
        Value::Object(members) => {
            let mut answer = Map::new();
            add(members, set, &mut answer);
            answer.into()
        }
        other => other.clone(),
    }
}

fn add(members: &Map<String, Value>, set: &SelectionSet, answer: &mut Map<String, Value>) {
    for selection in &set.selections {
        match selection {
            Selection::Field(field) => {
                let value = members.get(field.name.as_str()).unwrap_or(&Value::Null);
                answer.insert(field.response_key().to_string(), project(value, &field.selection_set));
            }
            Selection::InlineFragment(fragment) => add(members, &fragment.selection_set, answer),
            Selection::FragmentSpread(spread) => panic!("the fragment {} is not written out", spread.fragment_name),
        }
    }
}

/// Points: one for each object, and a connection as often as it may have nodes.
#[expect(clippy::cast_precision_loss, reason = "points")]
pub fn cost(set: &SelectionSet, variables: &Value) -> f64 {
    let mut points = 0.0;
    for selection in &set.selections {
        points += match selection {
            Selection::Field(field) if field.selection_set.selections.is_empty() => 0.0,
            Selection::Field(field) => {
                let inside = cost(&field.selection_set, variables);
                match arguments(field, variables)["first"].as_u64() {
                    Some(first) => (first as f64).mul_add(inside, 2.0),
                    None => 1.0 + inside,
                }
            }
            Selection::InlineFragment(fragment) => cost(&fragment.selection_set, variables),
            Selection::FragmentSpread(_) => 0.0,
        };
    }
    points
}
