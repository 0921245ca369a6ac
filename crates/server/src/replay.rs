//! How an answer says whether its reference had been answered before.

use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use selfsame_api::payment::REPLAYED_HEADER;
use selfsame_api::serve::Json;
use serde::Serialize;

/// 201 for what was made now, 200 with the mark for what was made before.
pub(crate) fn answer(body: impl Serialize, replayed: bool) -> Response {
    if !replayed {
        return (StatusCode::CREATED, Json(body)).into_response();
    }
    let mark = [(HeaderName::from_static(REPLAYED_HEADER), HeaderValue::from_static("true"))];
    (StatusCode::OK, mark, Json(body)).into_response()
}
