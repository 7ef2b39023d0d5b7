//! A real Prometheus that scrapes the controller, with the alerts of the chart.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use certwright_e2e::helm::chart;
use certwright_e2e::packages::require_program;
use certwright_e2e::wait::until;
use certwright_e2e::{Process, Testbed};
use serde_json::{Value, json};
use tempfile::TempDir;

const ADDRESS: &str = "127.0.0.1:9090";
const PATIENCE: Duration = Duration::from_mins(2);

/// See the module's description. It ends when it is dropped.
pub struct Prometheus {
    client: reqwest::Client,
    _process: Process,
    _folder: TempDir,
}

/// The file of the chart with the alerts.
pub fn rules() -> PathBuf {
    chart().join("files/rules.yaml").canonicalize().unwrap()
}

impl Prometheus {
    /// Scrapes once a second.
    pub async fn start(testbed: &Testbed) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = json!({
            "global": { "scrape_interval": "1s", "evaluation_interval": "1s" },
            "rule_files": [rules()],
            "scrape_configs": [{ "job_name": "certwright", "static_configs": [{ "targets": ["127.0.0.1:9402"] }] }],
        });
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, config.to_string()).unwrap();
        let mut command = Command::new(require_program("prometheus").unwrap());
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        command.arg(format!("--web.listen-address={ADDRESS}"));
        let process = testbed.start("prometheus", command).unwrap();
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap();
        let prometheus = Self { client, _process: process, _folder: folder };
        prometheus.wait_for("up == 1").await;
        prometheus
    }

    /// The `data` of what Prometheus answers.
    pub async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let url = format!("http://{ADDRESS}/api/v1/{path}");
        let url = reqwest::Url::parse_with_params(&url, parameters).map_err(|error| error.to_string())?;
        let sent = self.client.get(url).send().await.map_err(|error| error.to_string())?;
        let mut answer: Value = sent.json().await.map_err(|error| error.to_string())?;
        if answer["status"] == "success" { Ok(answer["data"].take()) } else { Err(answer.to_string()) }
    }

    /// What an expression gives now.
    pub async fn query(&self, expression: &str) -> Vec<Value> {
        let data = self.ask("query", &[("query", expression)]).await;
        let data = data.unwrap_or_else(|error| panic!("{expression}: {error}"));
        data["result"].as_array().unwrap_or_else(|| panic!("{expression}: {data}")).clone()
    }

    /// Waits until an expression gives something.
    pub async fn wait_for(&self, expression: &str) {
        let look = async || {
            let data = self.ask("query", &[("query", expression)]).await?;
            Ok::<_, String>(data["result"].as_array().filter(|result| !result.is_empty()).map(drop))
        };
        until(&format!("{expression} to give something"), PATIENCE, look).await.unwrap();
    }

    /// Type of each family, as it was scraped.
    pub async fn types(&self) -> BTreeMap<String, String> {
        let metadata = self.ask("metadata", &[]).await.unwrap();
        let type_of = |(name, told): (&String, &Value)| (name.clone(), told[0]["type"].as_str().unwrap().to_owned());
        metadata.as_object().unwrap().iter().map(type_of).collect()
    }

    /// The names of the labels of a family's series, without those that the scrape adds.
    pub async fn labels(&self, name: &str) -> BTreeSet<String> {
        let found = self.ask("series", &[("match[]", name)]).await.unwrap();
        let series = found.as_array().unwrap();
        assert!(!series.is_empty(), "there is no {name}");
        let labels = series.iter().flat_map(|labels| labels.as_object().unwrap().keys().cloned());
        labels.filter(|label| !["__name__", "instance", "job"].contains(&label.as_str())).collect()
    }

    /// The names of all series.
    pub async fn names(&self) -> BTreeSet<String> {
        let names = self.ask("label/__name__/values", &[]).await.unwrap();
        names.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    }
}
