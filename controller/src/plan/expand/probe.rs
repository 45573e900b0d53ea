//! A way to look as written becomes a [`Probe`]: defaults filled in, argument vectors made.

use crate::input::probe::{CertificateForm, DnsForm, PostgresForm, ProbeForm};
use crate::plan::procedure::Probe;

/// Of a form without problems.
pub(super) fn probe(form: ProbeForm) -> Probe {
    match form {
        ProbeForm { tcp: Some(endpoint), .. } => Probe::Tcp(endpoint),
        ProbeForm { http: Some(url), status, .. } => Probe::Http { url, status: status.unwrap_or(200) },
        ProbeForm { dns: Some(DnsForm { name, r#type, server, expect }), .. } => {
            let expect = expect.map(|values| values.list()).unwrap_or_default();
            Probe::Dns { name, r#type, server, expect }
        }
        ProbeForm { certificate: Some(form), .. } => certificate(form),
        ProbeForm { unit: Some(unit), .. } => Probe::Unit(unit),
        ProbeForm { postgres: Some(form), .. } => postgres(form),
        ProbeForm { disk: Some(form), .. } => Probe::Disk { path: form.path, free: form.free },
        ProbeForm { fresh: Some(form), .. } => Probe::Fresh { path: form.path, within: form.within.0 },
        ProbeForm { clock: Some(form), .. } => Probe::Clock { within: form.within.0 },
        ProbeForm { open_files: Some(form), .. } => Probe::OpenFiles { most: form.most },
        ProbeForm { command, .. } => Probe::Command(command.unwrap_or_default()),
    }
}

fn certificate(form: CertificateForm) -> Probe {
    let CertificateForm { endpoint, path, name, days_left } = form;
    match (endpoint, path) {
        (Some(endpoint), _) => Probe::Certificate { endpoint, name, days_left },
        (None, path) => Probe::CertificateFile { path: path.unwrap_or_default(), name, days_left },
    }
}

fn postgres(form: PostgresForm) -> Probe {
    let database = form.database.unwrap_or_else(|| "postgres".into());
    let query = form.query.unwrap_or_else(|| "SELECT 1".into());
    Probe::Postgres { database, query, expect: form.expect }
}
