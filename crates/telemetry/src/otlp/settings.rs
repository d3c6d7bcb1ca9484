//! The `OTEL_*` variables, read once, with everything that is wrong in them.

use std::fmt;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use crate::trace::Sampler;

/// What is exported, where to, and how often.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) traces: Option<Target>,
    pub(super) metrics: Option<Target>,
    pub(super) sampler: Sampler,
    /// What stands for this process at the collector.
    pub(super) resource: Vec<(String, String)>,
    /// Between two exports of metrics.
    pub(super) interval: Duration,
    /// Most spans that wait.
    pub(super) queue: usize,
    /// Most spans of one export.
    pub(super) batch: usize,
    /// Longest wait of a span for others to go with it.
    pub(super) delay: Duration,
}

/// Where one signal goes.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) endpoint: Endpoint,
    /// May hold secrets.
    pub(super) headers: MetadataMap,
    /// Longest time of one export.
    pub(super) timeout: Duration,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// What was read, and what could not be.
pub(super) struct Environment {
    pub(super) settings: Settings,
    /// One sentence for each wrong variable; values are not repeated, they may be secret.
    pub(super) complaints: Vec<String>,
}

struct Reader<F> {
    variable: F,
    complaints: Vec<String>,
}

impl Settings {
    /// Reads the variables. A signal with a wrong target is off; other wrong values leave the default.
    pub(super) fn read(service: &str, variable: impl Fn(&str) -> Option<String>) -> Environment {
        let mut reader = Reader { variable, complaints: Vec::new() };
        let off = reader.is_true("OTEL_SDK_DISABLED");
        let traces = if off { None } else { reader.target("TRACES") };
        let metrics = if off { None } else { reader.target("METRICS") };
        let sampler = Sampler::read(
            reader.text("OTEL_TRACES_SAMPLER").as_deref(),
            reader.text("OTEL_TRACES_SAMPLER_ARG").as_deref(),
        );
        let sampler = sampler.unwrap_or_else(|complaint| {
            reader.complaints.push(complaint);
            Sampler::default()
        });
        let queue = reader.number("OTEL_BSP_MAX_QUEUE_SIZE", 2048, 1, 65_536);
        let settings = Self {
            traces,
            metrics,
            sampler,
            resource: reader.resource(service),
            interval: Duration::from_millis(reader.number("OTEL_METRIC_EXPORT_INTERVAL", 60_000, 100, 86_400_000)),
            queue: usize::try_from(queue).unwrap_or(usize::MAX),
            batch: usize::try_from(reader.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", queue.min(512), 1, queue))
                .unwrap_or(1),
            delay: Duration::from_millis(reader.number("OTEL_BSP_SCHEDULE_DELAY", 5_000, 1, 3_600_000)),
        };
        Environment { settings, complaints: reader.complaints }
    }
}

impl<F: Fn(&str) -> Option<String>> Reader<F> {
    /// A variable that is set to nothing is not set.
    fn text(&self, name: &str) -> Option<String> {
        (self.variable)(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// The variable of one signal, or else that of all.
    fn of_signal(&self, signal: &str, name: &str) -> Option<(String, String)> {
        [format!("OTEL_EXPORTER_OTLP_{signal}_{name}"), format!("OTEL_EXPORTER_OTLP_{name}")]
            .into_iter()
            .find_map(|name| self.text(&name).map(|text| (name, text)))
    }

    fn is_true(&mut self, name: &str) -> bool {
        match self.text(name).as_deref().map(str::to_ascii_lowercase).as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => {
                self.complaints.push(format!("{name} must be true or false; false is taken"));
                false
            }
        }
    }

    fn number(&mut self, name: &str, default: u64, least: u64, most: u64) -> u64 {
        let Some(text) = self.text(name) else { return default };
        match text.parse() {
            Ok(number) if (least..=most).contains(&number) => number,
            _ => {
                self.complaints.push(format!("{name} must be a number from {least} to {most}; {default} is taken"));
                default
            }
        }
    }

    /// Where a signal goes; `None` if it is off, or can't go there.
    fn target(&mut self, signal: &str) -> Option<Target> {
        let chosen = format!("OTEL_{signal}_EXPORTER");
        let exporter = self.text(&chosen);
        match exporter.as_deref() {
            None | Some("otlp") => (),
            Some("none") => return None,
            Some(_) => {
                self.complaints.push(format!("{chosen} must be otlp or none; nothing is exported"));
                return None;
            }
        }
        let Some((name, endpoint)) = self.of_signal(signal, "ENDPOINT") else {
            if exporter.is_some() {
                self.complaints.push(format!("{chosen} is otlp, but OTEL_EXPORTER_OTLP_ENDPOINT is not set"));
            }
            return None;
        };
        if let Some((name, protocol)) = self.of_signal(signal, "PROTOCOL")
            && protocol != "grpc"
        {
            self.complaints.push(format!("{name} must be grpc, the only protocol spoken here; nothing is exported"));
            return None;
        }
        let ca = match self.of_signal(signal, "CERTIFICATE") {
            None => None,
            Some((name, path)) => match ca(&path) {
                Some(ca) => Some(ca),
                None => {
                    self.complaints.push(format!("{name} must be a file of PEM certificates; nothing is exported"));
                    return None;
                }
            },
        };
        let Some(endpoint) = parsed_endpoint(endpoint, ca) else {
            self.complaints.push(format!("{name} must be http:// or https:// with host and port; nothing is exported"));
            return None;
        };
        let headers = match self.of_signal(signal, "HEADERS") {
            None => MetadataMap::new(),
            Some((name, text)) => match parsed_headers(&text) {
                Some(headers) => headers,
                None => {
                    self.complaints.push(format!("{name} must be a list of name=value; nothing is exported"));
                    return None;
                }
            },
        };
        let mut timeout = Duration::from_millis(10_000);
        if let Some((name, _)) = self.of_signal(signal, "TIMEOUT") {
            timeout = Duration::from_millis(self.number(&name, 10_000, 1, 600_000));
        }
        if signal == "TRACES" {
            let most = self.number("OTEL_BSP_EXPORT_TIMEOUT", 30_000, 1, 600_000);
            timeout = timeout.min(Duration::from_millis(most));
        }
        Some(Target { endpoint, headers, timeout })
    }

    fn resource(&mut self, service: &str) -> Vec<(String, String)> {
        let mut attributes = vec![
            ("service.name".to_owned(), service.to_owned()),
            ("service.namespace".to_owned(), "gatehouse".to_owned()),
            ("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("service.instance.id".to_owned(), format!("{:032x}", crate::trace::fresh_trace())),
        ];
        let mut put = |key: &str, value: String| match attributes.iter_mut().find(|(known, _)| known == key) {
            Some((_, known)) => *known = value,
            None => attributes.push((key.to_owned(), value)),
        };
        match self.text("OTEL_RESOURCE_ATTRIBUTES").map(|text| pairs(&text)) {
            Some(Some(pairs)) => pairs.into_iter().for_each(|(key, value)| put(&key, value)),
            Some(None) => {
                self.complaints.push("OTEL_RESOURCE_ATTRIBUTES must be a list of name=value; none is taken".to_owned());
            }
            None => (),
        }
        if let Some(name) = self.text("OTEL_SERVICE_NAME") {
            put("service.name", name);
        }
        attributes
    }
}

/// The certificates that the file holds, if it holds any and nothing else of their kind.
fn ca(path: &str) -> Option<Certificate> {
    let pem = std::fs::read(path).ok()?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().ok()?;
    (!found.is_empty()).then(|| Certificate::from_pem(pem))
}

/// A collector behind TLS is known by `ca`, or else by a public root.
fn parsed_endpoint(text: String, ca: Option<Certificate>) -> Option<Endpoint> {
    let secure = text.starts_with("https://");
    if !secure && !text.starts_with("http://") {
        return None;
    }
    let endpoint = Endpoint::from_shared(text).ok()?;
    let tls = ClientTlsConfig::new();
    let tls = match ca {
        Some(ca) => tls.ca_certificate(ca),
        None => tls.with_enabled_roots(),
    };
    if secure { endpoint.tls_config(tls).ok() } else { Some(endpoint) }
}

fn parsed_headers(text: &str) -> Option<MetadataMap> {
    let mut headers = MetadataMap::new();
    for (name, value) in pairs(text)? {
        let mut value: AsciiMetadataValue = value.parse().ok()?;
        value.set_sensitive(true);
        headers.insert(name.to_ascii_lowercase().parse::<AsciiMetadataKey>().ok()?, value);
    }
    Some(headers)
}

/// `name=value,name=value`, the values percent-encoded as in W3C baggage.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let name = name.trim();
        (!name.is_empty()).then(|| Some((name.to_owned(), decoded(value.trim())?)))?
    };
    text.split(',').map(str::trim).filter(|text| !text.is_empty()).map(pair).collect()
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16);
        bytes.push(u8::try_from(digit(rest.next()?)? * 16 + digit(rest.next()?)?).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Environment {
        Settings::read("gatehouse-proxy", |name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    const HERE: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317");

    #[tokio::test]
    async fn nothing_is_exported_unless_an_endpoint_is_set() {
        for (variables, traces, metrics) in [
            (&[][..], false, false),
            (&[HERE], true, true),
            (&[HERE, ("OTEL_SDK_DISABLED", "True")], false, false),
            (&[HERE, ("OTEL_TRACES_EXPORTER", "none")], false, true),
            (&[HERE, ("OTEL_METRICS_EXPORTER", "none")], true, false),
            (&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://collector.example:4317")], true, false),
            (&[HERE, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_EXPORTER_OTLP_COMPRESSION", "")], true, true),
        ] {
            let Environment { settings, complaints } = read(variables);
            assert_eq!((settings.traces.is_some(), settings.metrics.is_some()), (traces, metrics), "{variables:?}");
            assert!(complaints.is_empty(), "{complaints:?}");
        }
    }

    #[tokio::test]
    async fn what_is_wrong_is_named_and_never_repeated() {
        for (name, value, exported) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "sesame:4317", false),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/sesame", false),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "sesame", false),
            ("OTEL_EXPORTER_OTLP_HEADERS", "sesame", false),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=sesame%0a", false),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no/such/sesame.pem", false),
            ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "/dev/null", false),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "sesame", true),
            ("OTEL_TRACES_EXPORTER", "sesame", false),
            ("OTEL_SDK_DISABLED", "sesame", true),
            ("OTEL_TRACES_SAMPLER", "sesame", true),
            ("OTEL_RESOURCE_ATTRIBUTES", "sesame", true),
            ("OTEL_METRIC_EXPORT_INTERVAL", "sesame", true),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0", true),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "999999", true),
        ] {
            let Environment { settings, complaints } = read(&[(name, value), HERE]);
            assert_eq!(settings.traces.is_some(), exported, "{name}");
            assert!(!complaints.is_empty() && complaints.iter().all(|text| text.contains(name)), "{complaints:?}");
            assert!(!complaints.concat().contains("sesame"), "{complaints:?}");
            assert!(!format!("{settings:?}").contains("sesame"));
        }
        let asked_for = read(&[("OTEL_TRACES_EXPORTER", "otlp")]);
        assert!(asked_for.settings.traces.is_none() && asked_for.complaints.len() == 1);
    }

    #[tokio::test]
    async fn headers_are_decoded_and_stay_unseen() {
        let variables = [HERE, ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20sesame, x-team = a ,")];
        let target = read(&variables).settings.metrics.unwrap();
        assert_eq!(target.headers.get("authorization").unwrap(), "Bearer sesame");
        assert_eq!(target.headers.get("x-team").unwrap(), "a");
        assert!(!format!("{target:?} {:?}", target.headers).contains("sesame"));
    }

    #[test]
    fn the_resource_names_the_process_unless_told_otherwise() {
        let of = |variables: &[(&str, &str)], key: &str| {
            let resource = read(variables).settings.resource;
            resource.into_iter().find(|(name, _)| name == key).map(|(_, value)| value)
        };
        assert_eq!(of(&[], "service.name").as_deref(), Some("gatehouse-proxy"));
        let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=one,zone=a%2Cb");
        assert_eq!(of(&[attributes], "service.name").as_deref(), Some("one"));
        assert_eq!(of(&[attributes], "zone").as_deref(), Some("a,b"));
        assert_eq!(of(&[attributes, ("OTEL_SERVICE_NAME", "two")], "service.name").as_deref(), Some("two"));
    }
}
