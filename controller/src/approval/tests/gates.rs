//! What a gate says is missing.

use std::collections::BTreeSet;

use crate::approval::{Approval, Gate, Role, open, role};
use crate::input::tests;

const HOUR: i64 = 3_600_000;

fn approval(principal: &str, role: Role, at_ms: i64) -> Approval {
    Approval { principal: principal.into(), role, at_ms }
}

fn missing(gate: &Gate, approvals: &[Approval], ticked: &[&str]) -> Vec<String> {
    let ticked: BTreeSet<String> = ticked.iter().map(|item| (*item).to_owned()).collect();
    open(gate, approvals, &ticked, "anna@kitu.example", 10 * HOUR).err().unwrap_or_default()
}

#[test]
fn a_gate_that_asks_for_nothing_is_open() {
    assert_eq!(open(&Gate::default(), &[], &BTreeSet::new(), "", 0), Ok(()));
}

#[test]
fn persons_are_counted_not_approvals() {
    let gate = Gate { approve: 2, ..Gate::default() };
    let once =
        [approval("ben@kitu.example", Role::Technician, 0), approval("Ben@kitu.example", Role::Technician, HOUR)];
    assert_eq!(missing(&gate, &[], &[]), ["2 of 2 approvals are missing"]);
    assert_eq!(missing(&gate, &once, &[]), ["1 of 2 approvals is missing"]);
    let two = [once[0].clone(), approval("amt@town.example", Role::Member, HOUR)];
    assert_eq!(missing(&gate, &two, &[]), [""; 0]);
}

#[test]
fn who_planned_does_not_count() {
    let gate = Gate { approve: 1, not_by_planner: true, ..Gate::default() };
    let own = [approval("Anna@kitu.example", Role::Technician, 0)];
    let wanted = ["1 of 1 approval is missing", "the approval of Anna@kitu.example does not count: they planned it"];
    assert_eq!(missing(&gate, &own, &[]), wanted);
    assert_eq!(missing(&Gate { not_by_planner: false, ..gate.clone() }, &own, &[]), [""; 0]);
    // Where nobody knows who planned, nobody can be left out.
    let wanted = "the approval of Anna@kitu.example does not count: it is not known who planned";
    assert_eq!(open(&gate, &own, &BTreeSet::new(), "", 0).unwrap_err()[1], wanted);
}

#[test]
fn the_role_counts() {
    let gate = Gate { approve: 1, role: Some(Role::Member), ..Gate::default() };
    let technician = [approval("ben@kitu.example", Role::Technician, 0)];
    let wanted = [
        "1 of 1 approval with the role member is missing",
        "the approval of ben@kitu.example does not count: given as technician, and a member's is wanted",
    ];
    assert_eq!(missing(&gate, &technician, &[]), wanted);
    assert_eq!(missing(&gate, &[approval("amt@town.example", Role::Member, 0)], &[]), [""; 0]);
}

#[test]
fn approvals_expire() {
    let gate = Gate { approve: 1, expires_ms: Some(HOUR as u64), ..Gate::default() };
    let old = approval("ben@kitu.example", Role::Technician, 9 * HOUR);
    let wanted = ["1 of 1 approval is missing", "the approval of ben@kitu.example has expired"];
    assert_eq!(missing(&gate, std::slice::from_ref(&old), &[]), wanted);
    let new = approval("ben@kitu.example", Role::Technician, 9 * HOUR + 1);
    assert_eq!(missing(&gate, &[old.clone(), new], &[]), [""; 0]);
    // The clock was set back after it came in.
    let ahead = approval("ben@kitu.example", Role::Technician, 10 * HOUR + 1);
    assert!(missing(&gate, &[ahead], &[])[1].ends_with("is dated ahead of the clock"));
    assert_eq!(missing(&Gate { expires_ms: None, ..gate.clone() }, std::slice::from_ref(&old), &[]), [""; 0]);
    assert_eq!(missing(&Gate { expires_ms: Some(u64::MAX), ..gate }, &[old], &[]), [""; 0]);
}

#[test]
fn the_checklist_is_ticked_off() {
    let checklist = vec!["trained: registry office".to_owned(), "trained: cashier".to_owned()];
    let gate = Gate { checklist, ..Gate::default() };
    assert_eq!(missing(&gate, &[], &["trained: cashier", "lunch"]), ["not ticked off: trained: registry office"]);
    assert_eq!(missing(&gate, &[], &["trained: cashier", "trained: registry office"]), [""; 0]);
}

#[test]
fn a_gate_is_the_same_in_a_plan() {
    let text = r#"{"approve":2,"not_by_planner":true,"role":"member","expires_ms":1000,"checklist":["trained"]}"#;
    assert_eq!(serde_json::to_string(&serde_json::from_str::<Gate>(text).unwrap()).unwrap(), text);
    assert_eq!(serde_json::from_str::<Gate>("{}").unwrap(), Gate::default());
}

#[test]
fn roles_are_of_a_member() {
    let key = |n: usize| super::signatures::PUBLIC[n];
    let mut texts = tests::good();
    texts.insert("weiche.yaml", tests::CONFIG.to_owned() + "approvers: allowed_signers\n");
    let signers = format!("anna@kitu.example {}\namt@alpha.example {}\namt@beta.example {}\n", key(0), key(1), key(2));
    texts.insert("allowed_signers", signers);
    texts.insert("members/alpha.yaml", tests::MEMBER.to_owned() + "approvers: [amt@alpha.example]\n");
    texts.insert("members/beta.yaml", "member: beta\nname: Beta\napprovers: [amt@beta.example]\n".into());
    let fleet = tests::fleet(&texts);
    assert_eq!(role(&fleet, "anna@kitu.example", "alpha"), Some(Role::Technician));
    assert_eq!(role(&fleet, "amt@alpha.example", "alpha"), Some(Role::Member));
    assert_eq!(role(&fleet, "amt@beta.example", "alpha"), None);
    assert_eq!(role(&fleet, "eve@kitu.example", "alpha"), None);
}
