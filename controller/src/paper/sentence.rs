//! What a step does, in words: a sentence for each kind of step, in each language.

use super::probe;
use crate::input::paper::Language;
use crate::input::scalar::Period;
use crate::plan::Step;
use crate::plan::procedure::Action;

/// By kind of resource: English, German. `{}` is the resource; a kind that is not here is told by the step's title.
const KINDS: &[(&str, [&str; 2])] = &[
    ("apt_source", ["Set up the package source {}", "Paketquelle {} einrichten"]),
    ("archive", ["Unpack {}", "{} entpacken"]),
    ("authorized_key", ["Admit the key {}", "Schlüssel {} zulassen"]),
    ("block", ["Write a section into {}", "Abschnitt in {} schreiben"]),
    ("certificate", ["Put the certificate {} in place", "Zertifikat {} hinterlegen"]),
    ("command", ["Run: {}", "Befehl ausführen: {}"]),
    ("cron", ["Set the scheduled job {}", "Zeitgesteuerten Auftrag {} setzen"]),
    ("directory", ["Make the directory {}", "Verzeichnis {} anlegen"]),
    ("dns_record", ["Set the name {} in the DNS", "Namen {} im DNS setzen"]),
    ("download", ["Put the downloaded file {} in place", "Heruntergeladene Datei {} ablegen"]),
    ("file", ["Write the file {}", "Datei {} schreiben"]),
    ("firewall", ["Set the firewall {}", "Firewall {} setzen"]),
    ("group", ["Set up the group {}", "Gruppe {} einrichten"]),
    ("hold", ["Hold new connections: {}", "Neue Verbindungen anhalten: {}"]),
    ("hostname", ["Set the host name {}", "Rechnernamen {} setzen"]),
    ("hosts_entry", ["Enter {} into the table of hosts", "{} in die Rechnertabelle eintragen"]),
    ("ini", ["Set values in {}", "Werte in {} setzen"]),
    ("line", ["Set a line in {}", "Zeile in {} setzen"]),
    ("locale", ["Set the language {}", "Sprache {} setzen"]),
    ("mirror", ["Copy {} from the other host", "{} vom anderen Rechner kopieren"]),
    ("mount", ["Mount {}", "{} einhängen"]),
    ("network", ["Set the network {}", "Netzwerk {} einrichten"]),
    ("package", ["Install the package {}", "Paket {} installieren"]),
    ("postgres_database", ["Set up the database {}", "Datenbank {} einrichten"]),
    ("postgres_role", ["Set up the database user {}", "Datenbanknutzer {} einrichten"]),
    ("postgres_server", ["Set the database server {}", "Datenbankserver {} umstellen"]),
    ("postgres_upgrade", ["Upgrade the database server {}", "Datenbankserver {} auf neue Version bringen"]),
    ("relay", ["Pass connections on: {}", "Verbindungen weiterleiten: {}"]),
    ("replica", ["Copy the directory {} from another host", "Verzeichnis {} von einem anderen Rechner kopieren"]),
    ("samba_share", ["Set up the share {}", "Freigabe {} einrichten"]),
    ("service_address", ["Move the service address {}", "Dienstadresse {} umziehen"]),
    ("symlink", ["Set the link {}", "Verweis {} setzen"]),
    ("sysctl", ["Set the kernel's value {}", "Kernelwert {} setzen"]),
    ("timer", ["Set the timer {}", "Zeitgeber {} setzen"]),
    ("timezone", ["Set the time zone {}", "Zeitzone {} setzen"]),
    ("tree", ["Put the files of {} in place", "Dateien von {} ablegen"]),
    ("unit", ["Set the service {}", "Dienst {} schalten"]),
    ("user", ["Set up the user {}", "Benutzer {} einrichten"]),
];

/// What undo does, as plans say it, and in German. Longer ones first where one begins with another.
const UNDO: &[(&str, &str)] = &[
    ("none: POINT OF NO RETURN", "kein Rückweg: PUNKT OHNE RÜCKKEHR"),
    (
        "nothing to take back; what is taken back of other steps may take another restart to work",
        "nichts zurückzunehmen; was von anderen Schritten zurückgenommen wird, wirkt vielleicht erst nach einem Neustart",
    ),
    ("nothing to take back", "nichts zurückzunehmen"),
    ("a person takes it back, if need be", "nimmt bei Bedarf ein Mensch zurück"),
    ("restart it if its configuration was put back", "neu starten, falls seine Einstellungen zurückgesetzt wurden"),
    ("remove it again", "wieder entfernen"),
    ("remove the tree again", "die Dateien wieder entfernen"),
    (
        "put back the tree as it is now (replaced contents are kept on the host)",
        "die Dateien zurücksetzen, wie sie jetzt sind (Ersetztes bleibt auf dem Rechner aufgehoben)",
    ),
    ("put back what is there now", "zurücksetzen auf den jetzigen Stand"),
    ("put back what is there then", "zurücksetzen auf den Stand unmittelbar davor"),
];

/// What follows an undo that is not exact.
const BEST_EFFORT: [&str; 2] = [" (best effort, see below)", " (so gut es geht)"];

/// What undo does, as the plan says it. Not escaped.
pub fn undo(text: &str, language: Language) -> String {
    if language == Language::En {
        return text.replace(BEST_EFFORT[0], " (best effort)");
    }
    let (plain, rest) = match text.strip_suffix(BEST_EFFORT[0]) {
        Some(plain) => (plain, BEST_EFFORT[1]),
        None => (text, ""),
    };
    if let Some((_, german)) = UNDO.iter().find(|(english, _)| *english == plain) {
        return format!("{german}{rest}");
    }
    let command = plain.strip_prefix("run `").and_then(|command| command.strip_suffix('`'));
    command.map_or_else(|| text.to_owned(), |command| format!("`{command}` ausführen{rest}"))
}

/// The kinds that have a sentence.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|(kind, _)| *kind)
}

/// What a step does. Not escaped.
pub fn of(step: &Step, language: Language) -> String {
    let pick = |texts: [&'static str; 2]| if language == Language::En { texts[0] } else { texts[1] };
    match &step.action {
        Action::Resource(resource) => {
            let found = KINDS.iter().find(|(kind, _)| *kind == resource.kind);
            let rest = step.title.strip_prefix(resource.kind.as_str()).map(str::trim);
            match (found, rest) {
                (Some((_, texts)), Some(rest)) if !rest.is_empty() => pick(*texts).replacen("{}", rest, 1),
                _ => step.title.clone(),
            }
        }
        Action::Transfer(transfer) => {
            let text = pick(["Copy {path} from {host}", "{path} von {host} kopieren"]);
            // The path last: it is data, and may hold `{host}`.
            text.replacen("{host}", transfer.from.name(), 1).replacen("{path}", &transfer.path, 1)
        }
        Action::Check(check) if check.waits => {
            let text = pick(["Wait, {within} at most, until: {}", "Warten, höchstens {within}, bis: {}"]);
            let within = Period(check.within).to_string();
            text.replacen("{within}", &within, 1).replacen("{}", &probe::of(&check.probe, language), 1)
        }
        Action::Check(check) => pick(["Check: {}", "Prüfen: {}"]).replacen("{}", &probe::of(&check.probe, language), 1),
        Action::Manual(manual) => format!("{} {}", pick(["BY HAND:", "VON HAND:"]), manual.text),
        Action::Reboot(reboot) => {
            let text = pick(["Restart the host", "Rechner neu starten"]);
            reboot.reason.as_ref().map_or_else(|| text.to_owned(), |reason| format!("{text} ({reason})"))
        }
    }
}
