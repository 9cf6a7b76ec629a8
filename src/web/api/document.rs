//! The OpenAPI document: made of what the handlers say of themselves, and what is true of all of them.

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Components, ComponentsBuilder, InfoBuilder, KnownFormat, ObjectBuilder, OpenApi, OpenApiBuilder, RefOr, Schema,
        SchemaFormat, Type,
        path::{Operation, PathItem},
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use super::{problem, scope_of};
use crate::model::Timestamp;

const ABOUT: &str = "Looks at customers, segments, runs, events and deliveries of one quintile, and acts on them. \
Ids are strings, money is a decimal string in the currency's own digits, times are RFC 3339 in UTC. \
Without a password the API answers whoever is on the same machine. With one it wants a token of \
`quintile token`, with the scope that stands with each operation (`admin` is good for all), or the cookie of a signed-in browser.";

/// What stands in the document before any handler is described.
pub fn base() -> OpenApi {
    let info = InfoBuilder::new().title("quintile").version(env!("CARGO_PKG_VERSION")).description(Some(ABOUT));
    let (name, schema) = problem::schema();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("A token of `quintile token`."));
    let components: Components = ComponentsBuilder::new()
        .schema(name, schema)
        .security_scheme("token", SecurityScheme::Http(bearer.build()))
        .security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new("quintile_session"))))
        .build();
    OpenApiBuilder::new().info(info.build()).components(Some(components)).build()
}

/// Adds to each operation who may ask, and prints it all.
pub fn complete(mut api: OpenApi) -> String {
    for (path, item) in &mut api.paths.paths {
        for (method, operation) in operations(item) {
            let scope = scope_of(&method, path).as_str();
            // One of them is enough; the last: none, where there is no password.
            operation.security = Some(vec![
                SecurityRequirement::new("token", [scope]),
                SecurityRequirement::new::<_, [&str; 0], _>("session", []),
                SecurityRequirement::default(),
            ]);
        }
    }
    api.to_json().unwrap_or_default()
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (axum::http::Method, &mut Operation)> {
    use axum::http::Method;
    [(Method::GET, &mut item.get), (Method::POST, &mut item.post), (Method::DELETE, &mut item.delete)]
        .into_iter()
        .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

impl PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("RFC 3339, UTC"))
            .examples(["2026-11-23T02:00:00Z"])
            .into()
    }
}

impl ToSchema for Timestamp {}
