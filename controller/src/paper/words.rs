//! The words of papers, a table with both languages beside each other: none can be missing in one of them.

use serde::Serialize;

use crate::input::paper::Language;

macro_rules! words {
    ($($key:ident: $en:literal, $de:literal;)*) => {
        /// Words by key, for templates.
        #[derive(Debug, Serialize)]
        #[expect(missing_docs, reason = "each is said beside it, in two languages")]
        pub struct Words { $(pub $key: &'static str,)* }
        const EN: Words = Words { $($key: $en,)* };
        const DE: Words = Words { $($key: $de,)* };
    };
}

words! {
    lang: "en", "de";
    run_sheet: "Run sheet", "Ablaufplan";
    summary: "Summary for the management", "Zusammenfassung für die Leitung";
    hand_over: "Hand-over report", "Übergabebericht";
    gantt: "The weekend as a picture", "Das Wochenende im Bild";
    member: "Member", "Mitglied";
    playbook: "Playbook", "Vorhaben";
    window: "Window", "Wartungsfenster";
    reserve: "reserve from", "Reserve ab";
    no_window: "none", "keines";
    plan: "Plan", "Plan";
    run: "Run", "Lauf";
    begins: "Begins", "Beginn";
    ends: "Ends", "Ende";
    soaked: "watched until", "beobachtet bis";
    usually: "usually", "gewöhnlich";
    latest: "at the latest", "spätestens";
    at_most: "at most", "höchstens";
    no_return: "Point of no return", "Punkt ohne Rückkehr";
    no_return_none: "none", "keiner";
    no_return_irreversible: "cannot be taken back", "nicht rückgängig zu machen";
    no_return_late: "the way back no longer fits", "der Rückweg passt nicht mehr";
    latest_abort: "Latest abort", "Spätester Abbruch";
    back_until: "Back until", "Zurück bis";
    back_takes: "the way back takes at most", "der Rückweg dauert höchstens";
    people: "People", "Beteiligte";
    technicians: "Technicians", "Techniker";
    technicians_at_once: "with something to do at once, at most", "gleichzeitig beschäftigt, höchstens";
    phone: "Phone", "Telefon";
    name: "Name", "Name";
    role: "Role", "Aufgabe";
    stage: "Stage", "Abschnitt";
    number: "No.", "Nr.";
    time: "Time", "Zeit";
    host: "Host", "Rechner";
    what: "What happens", "Was geschieht";
    takes: "Takes", "Dauer";
    undo: "Way back", "Rückweg";
    abort_by: "Abort by", "Abbruch bis";
    who: "Who", "Wer";
    done: "Done", "Erledigt";
    by_itself: "weiche", "weiche";
    irreversible: "NO WAY BACK", "KEIN RÜCKWEG";
    restored: "exactly as it was", "genau wie vorher";
    unchanged: "steps change nothing: they are as wanted already, and are checked again.",
        "Schritte ändern nichts: Sie sind schon, wie sie sein sollen, und werden noch einmal geprüft.";
    holds: "then watched for", "danach beobachtet";
    remarks: "Remarks", "Bemerkungen";
    signatures: "Signatures", "Unterschriften";
    technician: "Technician", "Techniker/in";
    management: "For the member", "Für das Mitglied";
    place_date: "Place, date", "Ort, Datum";
    signature: "Signature", "Unterschrift";
    emergency: "If weiche or the network is gone", "Wenn weiche oder das Netz ausfällt";
    emergency_1: "Keep calm: a host that lost its controller finishes the step it is in, and begins no other.",
        "Ruhe bewahren: Ein Rechner ohne Verbindung beendet den begonnenen Schritt und beginnt keinen neuen.";
    emergency_2: "Stages marked \"guarded\" take themselves back on the host when nobody confirms them in time.",
        "Abschnitte mit „bewacht“ nimmt der Rechner selbst zurück, wenn sie niemand rechtzeitig bestätigt.";
    emergency_3: "Once the controller is back: `weiche status latest` says what is safe; `weiche resume latest` goes on, `weiche rollback latest` takes everything back.",
        "Ist die Steuerung wieder da: `weiche status latest` sagt, was sicher ist; `weiche resume latest` macht weiter, `weiche rollback latest` nimmt alles zurück.";
    emergency_4: "If the controller is lost: any Linux computer with weiche, the fleet's directory, its key and a copy of the run log can do this. Without one, take back by hand, last step first: this sheet from the bottom to the top. Steps done BY HAND are always taken back by hand.",
        "Ist die Steuerung verloren: Jeder Linux-Rechner mit weiche, dem Verzeichnis der Flotte, ihrem Schlüssel und einer Kopie des Laufprotokolls kann das. Ohne ihn von Hand zurück, letzter Schritt zuerst: diesen Plan von unten nach oben. Was VON HAND getan wurde, immer von Hand zurücknehmen.";
    emergency_5: "Do not begin a way back after its \"back until\" time without a decision by the member. Call:",
        "Nach der Zeit „zurück bis“ keinen Rückweg ohne Entscheidung des Mitglieds beginnen. Anrufen:";
    guarded: "guarded: takes itself back unless confirmed within", "bewacht: nimmt sich selbst zurück, wenn nicht bestätigt in";
    approvals: "approvals needed", "Zustimmungen nötig";
    fits: "Work and way back fit into the windows, given the bounds below.",
        "Arbeit und Rückweg passen in die Fenster, nach den unten genannten Schranken.";
    no_windows: "No stage has a window: nothing was checked against one.",
        "Kein Abschnitt hat ein Fenster: Geprüft wurde gegen keines.";
    note_itself: "is taken back by its hosts themselves before it is through, if it takes what it usually does: after",
        "nehmen seine Rechner selbst zurück, bevor er fertig ist, wenn er so lange dauert wie üblich: nach";
    note_outside: "has no window: should it fail, all goes back outside of the windows",
        "hat kein Fenster: Scheitert er, geht alles außerhalb der Fenster zurück";
    note_elsewhere: "should all go back from here, this one goes back outside of its window:",
        "Geht von hier alles zurück, geht dieser außerhalb seines Fensters zurück:";
    fits_not: "DOES NOT FIT into the windows as planned.", "PASST NICHT in die Fenster wie geplant.";
    late: "may end too late by", "endet womöglich zu spät um";
    no_way_back: "its way back may end too late by", "sein Rückweg endet womöglich zu spät um";
    never_opens: "its window never opens for long enough", "sein Fenster ist nie lange genug offen";
    basis: "What the times rest on", "Worauf die Zeiten beruhen";
    basis_runs: "steps on earlier runs (at least", "Schritte auf früheren Läufen (mindestens";
    basis_runs_end: "runs)", "Läufe)";
    basis_declared: "on what the playbook says", "auf Angaben im Vorhaben";
    basis_assumed: "on assumptions", "auf Annahmen";
    basis_note: "Bounds, not promises.", "Schranken, keine Zusagen.";
    services: "What users notice", "Was die Nutzer merken";
    service: "Service", "Dienst";
    budget: "May be away for", "Darf ausfallen";
    budget_none: "not agreed", "nicht vereinbart";
    decisions: "Decisions asked of the management", "Erbetene Entscheidungen";
    decision_go: "We agree to the work at this time.", "Wir stimmen der Arbeit zu dieser Zeit zu.";
    decision_stop: "Who may decide to abort that night, and by which phone they are reached:",
        "Wer in der Nacht über einen Abbruch entscheiden darf, und unter welcher Nummer:";
    result: "Result", "Ergebnis";
    outcome_done: "Done: every host is new.", "Erledigt: Alle Rechner sind neu.";
    outcome_partial: "Partly done: some hosts are new, every other is as it was.",
        "Teilweise erledigt: Einige Rechner sind neu, alle anderen wie vorher.";
    outcome_rolled_back: "Taken back: every host is as it was.", "Zurückgenommen: Alle Rechner sind wie vorher.";
    outcome_differs: "Taken back, but at least one host DIFFERS from before.",
        "Zurückgenommen, aber mindestens ein Rechner ist ANDERS als vorher.";
    outcome_stuck: "STUCK: at least one host could not be taken back.",
        "STECKT FEST: Mindestens ein Rechner ließ sich nicht zurücknehmen.";
    outcome_left: "Ended by a person, and left as it is.", "Von einem Menschen beendet und so belassen.";
    outcome_open: "NOT ENDED: the run is still open.", "NICHT BEENDET: Der Lauf ist noch offen.";
    reason: "Reason", "Grund";
    started: "Started", "Begonnen";
    ended: "Ended", "Beendet";
    last_event: "Last event", "Letztes Ereignis";
    per_host: "Hosts", "Rechner";
    fate: "State", "Zustand";
    fate_new: "new", "neu";
    fate_was: "as it was", "wie vorher";
    fate_differs: "DIFFERS from before", "ANDERS als vorher";
    fate_stuck: "STUCK", "STECKT FEST";
    fate_failed: "failed", "gescheitert";
    fate_offline: "switched off", "ausgeschaltet";
    fate_open: "not finished", "nicht fertig";
    fate_untouched: "not begun", "nicht begonnen";
    changed: "changed", "geändert";
    as_wanted: "as wanted", "wie gewollt";
    by_hand: "done by hand", "von Hand getan";
    taken_back: "taken back", "zurück";
    failed: "failed", "gescheitert";
    not_done: "Not done, and why", "Nicht erledigt, und warum";
    nothing: "Nothing.", "Nichts.";
    step: "Step", "Schritt";
    why: "Why", "Warum";
    not_begun: "not begun", "nicht begonnen";
    downtime: "Downtime against budget", "Ausfall gegen Vereinbarung";
    away: "Away", "Ausgefallen";
    gaps: "Gaps", "Lücken";
    precise: "Precise to", "Genau auf";
    judgement: "Kept?", "Gehalten?";
    kept: "kept", "gehalten";
    exceeded: "EXCEEDED", "ÜBERSCHRITTEN";
    untold: "kept as far as measured", "gehalten, soweit gemessen";
    not_measured: "not measured for", "nicht gemessen";
    still_away: "not seen back", "nicht zurück gesehen";
    seen_from: "seen from", "gesehen von";
    simulated: "hosts were only simulated", "Rechner waren nur simuliert";
    no_services_ahead: "No service is measured.", "Es wird kein Dienst gemessen.";
    no_services: "No services were measured.", "Es wurden keine Dienste gemessen.";
    more_gaps: "more", "weitere";
    certificate: "Certificate", "Bescheinigung";
    certificate_note: "Compared with the list taken before the first change.",
        "Verglichen mit der Aufnahme vor der ersten Änderung.";
    paths: "paths", "Pfade";
    bytes: "bytes", "Bytes";
    identical: "identical to before", "identisch mit vorher";
    not_compared: "listed before; not compared again", "vorher aufgenommen; nicht erneut verglichen";
    not_listed: "not listed", "nicht aufgenommen";
    differs: "DIFFERS in places:", "ANDERS an Stellen:";
    was: "was", "war";
    is: "is", "ist";
    absent: "not there", "nicht da";
    against: "Forecast against actual", "Vorhersage und Wirklichkeit";
    forecast: "Forecast", "Vorhersage";
    actual: "Actual", "Wirklich";
    approved: "Approvals and decisions", "Zustimmungen und Entscheidungen";
    paused: "paused", "angehalten";
    aborted: "aborted", "abgebrochen";
    left_as_is: "ended; everything stays as it is", "beendet; alles bleibt, wie es ist";
    continued: "goes on", "weiter";
    turned_back: "taken back", "zurückgenommen";
    open_points: "Open points", "Offene Punkte";
    open_stuck: "could not be taken back", "ließ sich nicht zurücknehmen";
    open_offline: "is switched off and still to be done", "ist ausgeschaltet und noch zu erledigen";
    open_waits: "waits for a person", "wartet auf einen Menschen";
    open_differs: "differs from before", "ist anders als vorher";
    open_kept: "somebody had changed this before it was taken back; what they left is kept on the host",
        "war von jemandem geändert worden, bevor es zurückgenommen wurde; was sie hinterließen, liegt auf dem Rechner";
    open_manual: "was done by hand and is to be taken back by hand", "wurde von Hand getan und ist von Hand zurückzunehmen";
    annex: "Annex: steps", "Anhang: Schritte";
    generated: "Made by weiche from plan", "Erstellt von weiche aus Plan";
    planned: "planned", "geplant";
    clocks_change: "Clocks change on this weekend: mind the time zone behind each time.",
        "An diesem Wochenende wird die Uhr umgestellt: Zeitzone hinter jeder Zeit beachten.";
    legend: "outline: planned; filled: actual; light: taken back; dotted: until the latest end; hatched: reserve and outside the window; black mark: service away",
        "Umriss: geplant; gefüllt: wirklich; hell: zurückgenommen; gepunktet: bis zum spätesten Ende; schraffiert: Reserve und außerhalb des Fensters; schwarze Marke: Dienst weg";
}

impl Words {
    /// Those of a language.
    pub fn of(language: Language) -> &'static Words {
        match language {
            Language::De => &DE,
            Language::En => &EN,
        }
    }
}
