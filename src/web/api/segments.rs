//! `GET /api/v1/segments`

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Api,
    extract::Query,
    page::{Page, Part},
    problem::{Problem, Refusals},
};
use crate::scoring::{SegmentNow, segments_now};

/// A segment in the latest run.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Segment {
    segment: String,
    customers: i64,
    /// Of all scored customers, 0 to 1 with three decimals.
    #[schema(minimum = 0, maximum = 1)]
    customer_share: f64,
    /// Net, in the shop's currency.
    #[schema(examples("96990.00"))]
    revenue: String,
    /// Of the revenue of all scored customers.
    #[schema(minimum = 0, maximum = 1)]
    revenue_share: f64,
    /// Customers more than in the run before. Null: this is the first run.
    change: Option<i64>,
}

/// Segments of the latest run, the best first
#[utoipa::path(get, path = "/segments", operation_id = "listSegments", params(Part), responses((status = 200, description = "A page of them", body = Page<Segment>), Refusals))]
pub async fn list(State(api): State<Api>, Query(part): Query<Part>) -> Result<Json<Page<Segment>>, Problem> {
    let segments = api.readers.read(|connection| Ok(segments_now(connection)?)).await;
    let currency = api.shop.currency;
    let told = |segment: SegmentNow| Segment {
        segment: segment.name,
        customers: segment.customers,
        customer_share: segment.customer_share,
        revenue: segment.revenue.to_decimal(currency),
        revenue_share: segment.revenue_share,
        change: segment.change,
    };
    let segments = segments.map_err(|error| Problem::internal(&error))?.into_iter().map(told).collect();
    Page::of_whole(segments, &part).map(Json)
}
