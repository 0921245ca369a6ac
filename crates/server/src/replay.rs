//! How an answer says whether its reference had been answered before.

use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use selfsame_api::payment::REPLAYED_HEADER;
use selfsame_api::serve::Json;
use serde::Serialize;

/// 201 for what was made now, 200 with the mark for what was made before.
pub(crate) fn answer(body: impl Serialize, replayed: bool) -> Response {
    let status = if replayed { StatusCode::OK } else { StatusCode::CREATED };
    answer_as(status, body, replayed)
}

/// The same with another status, for what has not happened yet.
pub(crate) fn answer_as(status: StatusCode, body: impl Serialize, replayed: bool) -> Response {
    let mark = [(HeaderName::from_static(REPLAYED_HEADER), HeaderValue::from_static("true"))];
    if replayed { (status, mark, Json(body)).into_response() } else { (status, Json(body)).into_response() }
}
