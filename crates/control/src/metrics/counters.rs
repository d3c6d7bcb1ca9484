//! What control counts as it happens.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use telemetry::{Histogram, HistogramVec, IntCounterVec, Metrics};

use crate::sign_in::failures::Reason;

/// The counters of control; registered before anything is served.
#[derive(Clone)]
pub(crate) struct Counters {
    answers: IntCounterVec,
    seconds: HistogramVec,
    passes: IntCounterVec,
    pass_seconds: Histogram,
    failed_sign_ins: IntCounterVec,
}

impl Counters {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let passes =
            metrics.counters("gatehouse_reconcile_passes_total", "Passes of the reconciler, by outcome.", &["outcome"]);
        // Shown from the beginning, so that the first one is seen as a rise.
        for outcome in ["complete", "incomplete", "failed", "nobody"] {
            passes.with_label_values(&[outcome]);
        }
        let failed_sign_ins = metrics.counters(
            "gatehouse_sign_in_failures_total",
            "Sign-ins of people that failed, by what they failed by.",
            &["reason"],
        );
        for reason in Reason::ALL {
            failed_sign_ins.with_label_values(&[reason.as_str()]);
        }
        Self {
            failed_sign_ins,
            answers: metrics.counters(
                "gatehouse_rest_requests_total",
                "Answers of REST, by method, route and status.",
                &["method", "route", "status"],
            ),
            seconds: metrics.seconds_by("gatehouse_rest_seconds", "Latency of REST, by route.", &["route"]),
            passes,
            pass_seconds: metrics.seconds("gatehouse_reconcile_seconds", "Passes of the reconciler."),
        }
    }

    /// One answer of REST; `route` is a template of the route table.
    pub(crate) fn answered(&self, method: &Method, route: &str, status: StatusCode, took: Duration) {
        let method = match method.as_str() {
            known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known,
            _ => "other",
        };
        self.answers.with_label_values(&[method, route, status.as_str()]).inc();
        self.seconds.with_label_values(&[route]).observe(took.as_secs_f64());
    }

    /// One sign-in that failed.
    pub(crate) fn sign_in_failed(&self, reason: Reason) {
        self.failed_sign_ins.with_label_values(&[reason.as_str()]).inc();
    }

    /// One pass: `complete`, `incomplete`, `failed`, or `nobody` to heal.
    pub(crate) fn passed(&self, outcome: &'static str, took: Duration) {
        self.passes.with_label_values(&[outcome]).inc();
        self.pass_seconds.observe(took.as_secs_f64());
    }
}
