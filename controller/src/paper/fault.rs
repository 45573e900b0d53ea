//! Why something failed: in German what kind of fault it is, for those who read no English; behind it what the host said.

use weiche_agent::protocol::{Fault, FaultCode};

use crate::input::paper::Language;

/// Not escaped.
pub fn of(fault: &Fault, language: Language) -> String {
    match language {
        Language::En => fault.to_string(),
        Language::De => format!("{} ({fault})", german(fault.code)),
    }
}

fn german(code: FaultCode) -> &'static str {
    match code {
        FaultCode::NotFound => "nicht gefunden",
        FaultCode::Conflict => "etwas anderes steht im Weg",
        FaultCode::Denied => "verweigert: Rechte fehlen",
        FaultCode::NoSpace => "kein Speicherplatz mehr",
        FaultCode::ReadOnly => "das Dateisystem ist nur lesbar",
        FaultCode::Timeout => "Zeit abgelaufen",
        FaultCode::CommandFailed => "ein Befehl oder eine Prüfung ist gescheitert",
        FaultCode::NotConverged => "das Ergebnis ist nicht wie gewollt",
        FaultCode::WrongHost => "es ist nicht der erwartete Rechner",
        FaultCode::Stale => "der Rechner ist nicht mehr, wie ihn der Plan gesehen hat",
        FaultCode::TakenBack => "der Rechner hat sich selbst zurückgenommen",
        FaultCode::Superseded => "eine andere Steuerung hat übernommen",
        FaultCode::Drifted => "andere haben es seitdem geändert",
        FaultCode::Stopped => "ein anderer Rechner ist gescheitert, von dem dieser abhängt",
        FaultCode::Irreversible => "dafür gibt es keinen Rückweg",
        FaultCode::Unsupported => "dieser Rechner kann das nicht",
        FaultCode::Invalid => "die Vorgabe ist fehlerhaft",
        FaultCode::Busy => "auf dem Rechner arbeitet noch eine andere Steuerung",
        FaultCode::Corrupt => "Aufzeichnungen oder Inhalte sind beschädigt",
        FaultCode::Injected => "zur Probe herbeigeführt",
        FaultCode::Crashed => "Stromausfall",
        FaultCode::Io => "Fehler bei Verbindung, Lesen oder Schreiben",
        FaultCode::Unknown => "unbekannter Fehler",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_said_is_kept() {
        let fault = Fault::new(FaultCode::NoSpace, "no space left on device").within("write /etc/motd");
        assert_eq!(of(&fault, Language::En), "write /etc/motd: no space left on device");
        assert_eq!(of(&fault, Language::De), "kein Speicherplatz mehr (write /etc/motd: no space left on device)");
    }
}
