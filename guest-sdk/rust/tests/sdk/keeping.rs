//! The struct that is kept: loaded, written, put back, migrated.

use std::collections::BTreeMap;

use skep_sdk::prelude::*;
use skep_sdk::testing::{Failed, Testbed, asked, told};

#[agent(persist)]
#[derive(Default)]
struct Account {
    balance: u64,
    #[skep(skip)]
    seen: u32,
    /// JSON has no such keys, so it cannot be stored once it has one.
    odd: BTreeMap<(u8, u8), u8>,
}

#[message(reply = u64)]
struct Pay(u64);

#[message(reply = u64)]
struct Draw(u64);

#[message(reply = (u64, u32))]
struct Look;

#[message]
struct Spoil;

#[handlers]
impl Account {
    /// Cannot refuse.
    fn pay(&mut self, Pay(sum): Pay) -> u64 {
        self.seen += 1;
        self.balance += sum;
        self.balance
    }

    fn draw(&mut self, ctx: &mut Context, Draw(sum): Draw) -> Result<u64> {
        self.seen += 1;
        ctx.state().put(&format!("drawn/{sum}"), &sum)?;
        let before = self.balance;
        self.balance = 0;
        self.balance = before.checked_sub(sum).ok_or("not enough")?;
        Ok(self.balance)
    }

    fn look(&self, _: Look) -> (u64, u32) {
        (self.balance, self.seen)
    }

    fn spoil(&mut self, _: Spoil) {
        self.odd.insert((1, 2), 3);
    }
}

fn account() -> Testbed<Account> {
    Testbed::start("{}").unwrap()
}

fn kept(account: &Testbed<Account>) -> &str {
    std::str::from_utf8(account.state("skep.self").unwrap()).unwrap()
}

#[test]
fn a_fresh_struct_is_written_at_once() {
    assert_eq!(kept(&account()), r#"{"version":1,"state":{"balance":0,"odd":{}}}"#);
}

#[test]
fn what_is_kept_survives_the_instance_and_what_is_skipped_does_not() {
    let mut account = account();
    account.tell(&Pay(5)).unwrap();
    assert_eq!(account.ask(&Look), Ok((5, 1)));
    account.restart().unwrap();
    assert_eq!(account.ask(&Look), Ok((5, 0)));
    account.wake().unwrap();
    assert_eq!(account.ask(&Look), Ok((5, 0)));
}

#[test]
fn it_is_written_once_a_turn_and_only_if_it_changed() {
    let mut account = account();
    let before = account.writes();
    account.batch(vec![told(&Pay(1)), told(&Pay(2)), told(&Pay(3)), asked(&Look)]).unwrap();
    assert_eq!(account.writes() - before, 1);
    account.batch(vec![asked(&Look), told(&Pay(0)), asked(&Look)]).unwrap();
    assert_eq!(account.writes() - before, 1);
}

#[test]
fn a_refusal_puts_back_the_struct_and_the_state_but_not_the_cache() {
    let mut account = account();
    account.tell(&Pay(5)).unwrap();
    assert_eq!(account.ask(&Draw(9)), Err(Refusal::Failed("not enough".to_owned())));
    assert_eq!(account.ask(&Look), Ok((5, 2)));
    assert_eq!(account.state("drawn/9"), None);
    assert_eq!(account.ask(&Draw(2)), Ok(3));
    assert!(account.state("drawn/2").is_some());
}

#[test]
fn in_a_batch_a_refusal_undoes_its_own_message_only() {
    // Every order of one refusal among changes that cannot and changes that can be refused.
    let messages = [Pay(10).0, 3, 1_000, 4];
    for order in [[0, 1, 2, 3], [0, 1, 3, 2], [0, 2, 1, 3], [0, 3, 2, 1], [0, 2, 3, 1], [0, 3, 1, 2]] {
        let mut account = account();
        let batch = order.map(|at| if at == 0 { told(&Pay(messages[at])) } else { told(&Draw(messages[at])) });
        let results = account.batch(batch.to_vec()).unwrap();
        let refused: Vec<usize> = (0..4).filter(|at| results[*at].is_err()).map(|at| order[at]).collect();
        assert_eq!(refused, [2], "{order:?}");
        assert_eq!(account.ask(&Look).unwrap().0, 3, "{order:?}");
        account.restart().unwrap();
        assert_eq!(account.ask(&Look).unwrap().0, 3, "{order:?}: what is kept differs from what was in memory");
    }
}

#[test]
fn a_body_that_does_not_parse_costs_none_of_the_changes_before_it() {
    let mut account = account();
    let broken = asked(&Envelope { kind: "pay".to_owned(), body: b"x".to_vec() });
    let results = account.batch(vec![told(&Pay(1)), told(&Pay(2)), broken]).unwrap();
    assert!(matches!(results[2], Err(Refusal::Invalid(_))));
    account.restart().unwrap();
    assert_eq!(account.ask(&Look), Ok((3, 0)));
}

#[test]
fn a_struct_that_cannot_be_stored_refuses_the_message_that_made_it_so() {
    let mut account = account();
    account.tell(&Pay(5)).unwrap();
    let Err(Refusal::Failed(text)) = account.tell(&Spoil) else { panic!("it was taken") };
    assert!(text.contains("cannot be stored"), "{text}");
    assert_eq!(account.ask(&Look).unwrap().0, 5);
    assert_eq!(account.ask(&Pay(1)), Ok(6));
}

#[test]
fn in_a_batch_with_other_changes_it_fails_the_turn_which_then_comes_one_by_one() {
    let mut account = account();
    let failed = account.batch(vec![told(&Pay(1)), told(&Spoil)]).unwrap_err();
    assert!(matches!(failed, Failed::Failed(_)));
    account.tell(&Pay(1)).unwrap();
    assert!(account.tell(&Spoil).is_err());
    assert_eq!(account.ask(&Look), Ok((1, 1)));
}

#[test]
fn over_its_quota_an_agent_refuses_and_keeps_what_it_has() {
    let mut account = account();
    account.tell(&Pay(9)).unwrap();
    account.limit_state(60);
    let Err(Refusal::Failed(text)) = account.ask(&Pay(1_000_000_000_000)) else { panic!("it was taken") };
    assert!(text.contains("quota"), "{text}");
    assert_eq!(account.ask(&Look).unwrap().0, 9);
}

#[test]
fn state_that_cannot_be_read_is_never_a_fresh_start() {
    let broken: [&[u8]; 5] = [
        b"",
        b"nonsense",
        br#"{"version":1,"state":{"balance":"x","odd":{}}}"#,
        br#"{"version":2,"state":{"balance":1,"odd":{}}}"#,
        br#"{"version":1}"#,
    ];
    for bytes in broken {
        let mut account = account();
        account.set_state("skep.self", bytes);
        assert!(matches!(account.restart(), Err(Failed::Unusable(_))), "{bytes:?}");
        assert_eq!(account.state("skep.self"), Some(bytes));
    }
}

#[test]
fn state_that_is_gone_is_no_fresh_start_either() {
    let mut account = account();
    account.clear_state();
    assert!(matches!(account.restart(), Err(Failed::Unusable(_))));
    assert!(matches!(account.wake(), Err(Failed::Unusable(_))));
}

#[agent]
#[derive(Default)]
struct Forgetful {
    count: u64,
}

#[handlers]
impl Forgetful {
    fn pay(&mut self, Pay(sum): Pay) -> u64 {
        self.count += sum;
        self.count
    }
}

#[test]
fn a_plugin_that_kept_nothing_can_be_swapped_for_one_that_does() {
    let forgetful = Testbed::<Forgetful>::start("{}").unwrap();
    assert_eq!(forgetful.keys(), Vec::<&str>::new());
    let mut account = forgetful.upgrade::<Account>().map_err(|_| "no upgrade").unwrap();
    assert_eq!(account.ask(&Pay(1)), Ok(1));
}

#[agent(persist, version = 2)]
#[derive(Default)]
struct InCents {
    cents: u64,
    note: String,
}

#[handlers]
impl InCents {
    fn look(&self, _: Look) -> (u64, u32) {
        (self.cents, 0)
    }

    fn migrate(ctx: &mut Context, old: Stored) -> Result<Self> {
        #[data]
        struct First {
            balance: u64,
        }
        let First { balance } = old.read()?;
        if balance > 1_000 {
            Err(Refusal::Failed("too rich".to_owned()))?
        }
        ctx.state().put("migrated", &old.version())?;
        Ok(Self { cents: balance * 100, note: old.digest().to_owned() })
    }
}

#[agent(persist, version = 3)]
#[derive(Default)]
struct Lazy {}

#[handlers]
impl Lazy {}

#[test]
fn migrate_makes_the_struct_from_the_one_of_before() {
    let mut account = account();
    account.tell(&Pay(7)).unwrap();
    let mut next = account.upgrade::<InCents>().map_err(|refused| refused.1).unwrap();
    assert_eq!(next.ask(&Look), Ok((700, 0)));
    assert_eq!(next.state("migrated"), Some(b"1".as_slice()));
    assert_eq!(next.state("skep.self"), Some(br#"{"version":2,"state":{"cents":700,"note":"sha256:0"}}"#.as_slice()));
    next.restart().unwrap();
    assert_eq!(next.ask(&Look), Ok((700, 0)));
}

#[test]
fn the_same_version_needs_no_migration() {
    let mut account = account();
    account.tell(&Pay(7)).unwrap();
    let mut again = account.upgrade::<Account>().map_err(|refused| refused.1).unwrap();
    assert_eq!(again.ask(&Look), Ok((7, 0)));
}

#[test]
fn a_migration_that_fails_or_is_not_there_leaves_the_old_one() {
    let mut account = account();
    account.tell(&Pay(7_000)).unwrap();
    let (account, failed) = *account.upgrade::<InCents>().map(drop).unwrap_err();
    assert_eq!(failed, Failed::Failed("too rich".to_owned()));
    let (mut account, failed) = *account.upgrade::<Lazy>().map(drop).unwrap_err();
    assert!(matches!(failed, Failed::Unusable(text) if text.contains("version 1") && text.contains("3")));
    assert_eq!(account.ask(&Look).unwrap().0, 7_000);
}
