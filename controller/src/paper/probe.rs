//! What a check looks at, in words.

use crate::input::paper::Language;
use crate::input::scalar::Period;
use crate::plan::procedure::Probe;

/// In English as plans say it. Not escaped.
pub fn of(probe: &Probe, language: Language) -> String {
    if language == Language::En {
        return probe.to_string();
    }
    let certificate = |place: &str, name: &Option<String>, days: u32| {
        let name = name.as_ref().map(|name| format!(" für {name}")).unwrap_or_default();
        format!("Zertifikat von {place}{name} gilt noch {days} Tage")
    };
    match probe {
        Probe::Tcp(address) => format!("{address} nimmt Verbindungen an (TCP)"),
        Probe::Http { url, status } => format!("{url} antwortet mit {status}"),
        Probe::Dns { name, r#type, server, expect } => {
            let expect = if expect.is_empty() { String::new() } else { format!(" ist {}", expect.join(", ")) };
            let server = server.as_ref().map(|server| format!(" bei {server}")).unwrap_or_default();
            format!("DNS-Eintrag {} {name}{expect}{server}", r#type.as_str())
        }
        Probe::Certificate { endpoint, name, days_left } => certificate(endpoint, name, *days_left),
        Probe::CertificateFile { path, name, days_left } => certificate(path, name, *days_left),
        Probe::Unit(unit) => format!("Dienst {unit} läuft"),
        Probe::Postgres { database, query, expect } => {
            let expect = expect.as_ref().map(|expect| format!(" antwortet {expect}")).unwrap_or_default();
            format!("Datenbank {database}: {query}{expect}")
        }
        Probe::Disk { path, free } => format!("auf dem Datenträger von {path} sind {free} frei"),
        Probe::Fresh { path, within } => format!("{path} wurde in den letzten {} geschrieben", Period(*within)),
        Probe::Clock { within } => format!("Uhren stimmen auf {} überein", Period(*within)),
        Probe::OpenFiles { most: None } => String::from("von Nutzern geöffnete Dateien"),
        Probe::OpenFiles { most: Some(most) } => format!("höchstens {most} von Nutzern geöffnete Dateien"),
        Probe::Command(argv) => format!("Befehl {}", argv.join(" ")),
    }
}
