//! `GET /api/v1/destinations`, `POST /api/v1/destinations/{name}/test`

use axum::{Json, extract::State};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    Api,
    extract::{Body, Path, Query},
    page::{Page, Part},
    problem::{BodyRefusals, Missing, Problem, Refusals},
};
use crate::{
    delivery::trial::{Person, Trial, trial},
    outbox::{Standing, standings},
};

/// Deliveries counted in a state: an answer is short however long the queue is.
const COUNTED: i64 = 10_000;

/// Destinations and how they fare, in the order of config.toml
#[utoipa::path(get, path = "/destinations", operation_id = "listDestinations", params(Part), responses((status = 200, description = "A page of them", body = Page<Standing>), Refusals))]
pub async fn list(State(api): State<Api>, Query(part): Query<Part>) -> Result<Json<Page<Standing>>, Problem> {
    let (config, now) = (api.config.clone(), api.clock.now());
    let found = api.readers.read(move |connection| Ok(standings(connection, &config.destination, COUNTED, now)?));
    Page::of_whole(found.await.map_err(|error| Problem::internal(&error))?, &part).map(Json)
}

/// About whom the test event speaks.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// E-mail of the customer in the event, for tools that only know real ones. Of a customer of the shop it
    /// says what is so, of anybody else what is made up.
    email: Option<String>,
}

/// Send one marked event at once, past the queue
///
/// 200 whatever the tool answers: `ok` and `diagnosis` say what that means.
#[utoipa::path(
    post, path = "/destinations/{name}/test", operation_id = "testDestination", params(("name" = String, Path, description = "Its name in config.toml.")),
    request_body = Option<Test>, responses((status = 200, description = "What was sent and what came back", body = Trial), Missing, Refusals, BodyRefusals)
)]
pub async fn test(State(api): State<Api>, Path(name): Path, body: Option<Body<Test>>) -> Result<Json<Trial>, Problem> {
    let all = &api.config.destination;
    if !all.iter().any(|destination| destination.name == name) {
        let names: Vec<&str> = all.iter().map(|destination| destination.name.as_str()).collect();
        return Err(Problem::not_found(format!("there is no destination {name:?}; there are: {}", names.join(", "))));
    }
    let Body(Test { email }) = body.unwrap_or(Body(Test::default()));
    let now = api.clock.now();
    let person = match email {
        Some(email) => {
            let person = api.readers.read(move |connection| Ok(Person::called(connection, email, now)?)).await;
            Some(person.map_err(|error| Problem::internal(&error))?)
        }
        None => None,
    };
    let trial = trial(&api.config, &name, person, now).await;
    trial.map(Json).map_err(|error| Problem::bad_request(format!("{error:#}")))
}
