//! Keeps what [`crate::measure`] is told.

use std::{num::NonZeroU32, time::Duration};

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::measure::{BUCKETS, HISTOGRAMS, RECORDED, Type};

/// The quantiles of summaries, and over how long they go: as cert-manager has them.
const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];
const SUMMARY_PARTS: NonZeroU32 = NonZeroU32::new(5).expect("it is not zero");
const SUMMARY_PART: Duration = Duration::from_mins(2);

/// Values wait one by one until they are summed up, which a scrape does, or this.
const KEEP_UP: Duration = Duration::from_mins(1);

/// Gives the sums as text. Cheap to clone.
#[derive(Clone)]
pub struct Recorder(PrometheusHandle);

impl Recorder {
    /// For the whole process, once.
    ///
    /// # Errors
    /// If there is one already.
    pub fn install() -> Result<Self, String> {
        let recorder = build().map_err(|error| error.to_string())?;
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|error| error.to_string())?;
        describe();
        Ok(Self(handle))
    }

    #[cfg(test)]
    pub(super) fn local(during: impl FnOnce()) -> Self {
        let recorder = build().unwrap_or_else(|error| panic!("{error}"));
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            describe();
            during();
        });
        Self(handle)
    }

    pub(super) fn text(&self) -> String {
        self.0.render()
    }
}

/// Sums up now and then, also when nobody scrapes.
pub async fn keep_up(recorder: Recorder) {
    loop {
        tokio::time::sleep(KEEP_UP).await;
        recorder.0.run_upkeep();
    }
}

fn build() -> Result<PrometheusRecorder, BuildError> {
    let mut builder = PrometheusBuilder::new()
        .set_quantiles(&QUANTILES)?
        .set_bucket_count(SUMMARY_PARTS)
        .set_bucket_duration(SUMMARY_PART)?;
    for name in HISTOGRAMS {
        builder = builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), &BUCKETS)?;
    }
    Ok(builder.build_recorder())
}

fn describe() {
    for family in RECORDED {
        match family.type_ {
            Type::Counter => metrics::describe_counter!(family.name, family.help),
            Type::Gauge => metrics::describe_gauge!(family.name, family.help),
            Type::Histogram | Type::Summary => metrics::describe_histogram!(family.name, family.help),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::measure::{self, AcmeExchange, NO_ANSWER};

    /// Names, types and labels are a contract, so whole lines are compared.
    #[test]
    fn what_is_recorded_comes_under_its_names() {
        let url = "https://ca.example/acme/new-order?x=1";
        let exchange = |status, millis| AcmeExchange {
            url,
            method: "POST",
            action: "authorize_order",
            status,
            took: Duration::from_millis(millis),
        };
        let text = Recorder::local(|| {
            measure::acme_exchange(&exchange(201, 250));
            measure::acme_exchange(&exchange(NO_ANSWER, 30_000));
            measure::controller("orders");
            measure::pass("orders");
            measure::step_failure("orders", "limited");
            measure::self_check("DNS-01", "dns", false, Duration::from_millis(20));
            measure::dns_call("rfc2136", "apply", "ok", Duration::from_secs(100));
            measure::api_write("Order".to_owned(), "create", "ok");
            measure::watch_begun("Order");
            measure::leads(true);
            measure::serving_problem("the certificate of the webhook", true);
            measure::review("/validate", 200, Duration::from_millis(2));
            measure::refusal("certificates");
        })
        .text();
        let acme = r#"scheme="https",host="ca.example",action="authorize_order",method="POST""#;
        let expected = [
            format!("certmanager_http_acme_client_request_count{{{acme},status=\"201\"}} 1"),
            format!("certmanager_http_acme_client_request_count{{{acme},status=\"999\"}} 1"),
            format!("certmanager_http_acme_client_request_duration_seconds_sum{{{acme},status=\"201\"}} 0.25"),
            format!("certmanager_http_acme_client_request_duration_seconds_count{{{acme},status=\"999\"}} 1"),
            r#"certmanager_controller_sync_call_count{controller="orders"} 1"#.to_owned(),
            r#"certmanager_controller_sync_error_count{controller="orders"} 1"#.to_owned(),
            r#"certwright_step_failures_total{controller="orders",class="limited"} 1"#.to_owned(),
            r#"certwright_self_check_duration_seconds_bucket{type="DNS-01",layer="dns",outcome="failed",le="0.005"} 0"#.to_owned(),
            r#"certwright_self_check_duration_seconds_bucket{type="DNS-01",layer="dns",outcome="failed",le="0.025"} 1"#.to_owned(),
            r#"certwright_dns_provider_call_duration_seconds_bucket{provider="rfc2136",call="apply",outcome="ok",le="60"} 0"#.to_owned(),
            r#"certwright_dns_provider_call_duration_seconds_count{provider="rfc2136",call="apply",outcome="ok"} 1"#.to_owned(),
            r#"certwright_api_writes_total{kind="Order",verb="create",outcome="ok"} 1"#.to_owned(),
            r#"certwright_watch_interruptions_total{kind="Order"} 0"#.to_owned(),
            "certwright_leader 1".to_owned(),
            r#"certwright_serving_problems{what="the certificate of the webhook"} 1"#.to_owned(),
            r#"controller_runtime_webhook_requests_total{webhook="/validate",code="200"} 1"#.to_owned(),
            r#"controller_runtime_webhook_latency_seconds_bucket{webhook="/validate",le="0.005"} 1"#.to_owned(),
            r#"certwright_webhook_refusals_total{resource="certificates"} 1"#.to_owned(),
        ];
        for line in expected {
            assert!(text.lines().any(|held| held == line), "{line}\n{text}");
        }
        for quantile in QUANTILES {
            let beginning = format!(
                "certmanager_http_acme_client_request_duration_seconds{{{acme},status=\"201\",quantile=\"{quantile}\"}} 0.2"
            );
            assert!(text.lines().any(|held| held.starts_with(&beginning)), "{beginning}\n{text}");
        }
        for family in RECORDED {
            let type_ = format!("{:?}", family.type_).to_lowercase();
            assert!(text.contains(&format!("# TYPE {} {type_}\n", family.name)), "{}\n{text}", family.name);
            assert!(text.contains(&format!("# HELP {} {}\n", family.name, family.help)), "{}\n{text}", family.name);
        }
    }
}
