//! Tasks and many asks: what is asked, what comes back, and what is left in the state, which is nothing.

use skep_sdk::prelude::*;
use skep_sdk::testing::{Effect, Testbed};

#[agent(persist)]
#[derive(Default)]
struct Boss {
    results: Vec<String>,
    refuse: bool,
}

#[message(reply = AskId)]
struct Delegate {
    job: u32,
}

#[message(reply = u32)]
struct Job(u32);

#[message(reply = ManyId)]
struct Survey {
    agents: Vec<Address>,
    in_flight_max: usize,
    refuse_now: bool,
}

#[message(reply = Vec<String>)]
struct Results;

#[message]
struct Refuse(bool);

#[handlers]
impl Boss {
    fn delegate(&mut self, ctx: &mut Context, m: Delegate) -> Result<AskId> {
        Ok(ctx.task(&Job(m.job), Duration::from_secs(3))?)
    }

    fn job(&self, Job(n): Job) -> u32 {
        n + 1
    }

    fn survey(&mut self, ctx: &mut Context, m: Survey) -> Result<ManyId> {
        let asks: Vec<_> = (0..).zip(m.agents).map(|(n, agent)| (agent, Job(n))).collect();
        let id = ctx.ask_many(&asks, m.in_flight_max, Duration::from_secs(1))?;
        if m.refuse_now {
            Err("refused after asking")?
        }
        Ok(id)
    }

    fn results(&self, _: Results) -> Vec<String> {
        self.results.clone()
    }

    fn refuse(&mut self, Refuse(refuse): Refuse) {
        self.refuse = refuse;
    }

    #[answer]
    fn done(&mut self, a: Answer) -> Result<()> {
        self.results.push(a.read::<Job>().map_or_else(|error| error.to_string(), |n| n.to_string()));
        if self.refuse {
            Err("not now")?
        }
        Ok(())
    }

    #[answers]
    fn surveyed(&mut self, a: Answers) -> Result<()> {
        let results = a.read::<Job>().into_iter();
        self.results.extend(results.map(|result| result.map_or_else(|error| error.to_string(), |n| n.to_string())));
        if self.refuse {
            Err("not now")?
        }
        Ok(())
    }

    #[down]
    fn down(&mut self, down: Down) {
        self.results.push(format!("{} is down", down.agent));
    }
}

fn boss() -> Testbed<Boss> {
    Testbed::start("{}").unwrap()
}

fn nothing_is_left(boss: &Testbed<Boss>) {
    assert_eq!(boss.keys(), ["skep.self"]);
}

fn survey(count: usize, in_flight_max: usize) -> Survey {
    let agents = (0..count).map(|at| Address::new(format!("agent-{at}"))).collect();
    Survey { agents, in_flight_max, refuse_now: false }
}

#[test]
fn a_task_is_an_agent_for_one_job_and_gone_after_it() {
    let mut boss = boss();
    let task = boss.ask(&Delegate { job: 4 }).unwrap();
    let effects = boss.effects();
    let [Effect::Spawn { name, .. }, Effect::Ask { to, kind, deadline_ms: 3_000, .. }, Effect::Timer { .. }] =
        effects.as_slice()
    else {
        panic!("{effects:?}")
    };
    assert!(name.starts_with("agent/task-") && name == to && kind == "job");
    boss.restart().unwrap();
    boss.answer(task, &5_u32).unwrap();
    assert_eq!(boss.effects()[0], Effect::Stop(name.clone()));
    boss.down(name, "shutdown").unwrap();
    assert_eq!(boss.ask(&Results), Ok(vec!["5".to_owned()]));
    nothing_is_left(&boss);
}

#[test]
fn a_task_whose_agent_dies_ends_with_one_failed_answer() {
    let mut boss = boss();
    let task = boss.ask(&Delegate { job: 4 }).unwrap();
    boss.fail(task, &AskError::Down("error: trap".to_owned())).unwrap();
    assert_eq!(boss.ask(&Results), Ok(vec!["the receiver has ended: error: trap".to_owned()]));
    nothing_is_left(&boss);
}

#[test]
fn a_task_whose_answer_is_refused_is_ended_by_its_timer() {
    let mut boss = boss();
    let task = boss.ask(&Delegate { job: 4 }).unwrap();
    let Some(Effect::Timer { name, after_ms: 4_000, .. }) = boss.effects().pop() else { panic!("there is no timer") };
    boss.tell(&Refuse(true)).unwrap();
    boss.answer(task, &5_u32).unwrap_err();
    assert_eq!(boss.effects(), []);
    boss.fire(&name, &(), 0).unwrap();
    assert!(matches!(&boss.effects()[0], Effect::Stop(_)));
    assert_eq!(boss.ask(&Results), Ok(Vec::new()));
    nothing_is_left(&boss);
}

#[test]
fn many_asks_keep_their_bound_and_end_in_order_with_one_call() {
    let mut boss = boss();
    boss.ask(&survey(5, 2)).unwrap();
    let mut open = boss.asks();
    assert_eq!(open.len(), 2);
    for n in [1, 0, 2, 3, 4] {
        let at = usize::from(n == 1);
        boss.restart().unwrap();
        assert_eq!(boss.ask(&Results), Ok(Vec::new()));
        boss.answer(open.remove(at), &(n * 10)).unwrap();
        open.extend(boss.asks());
        assert!(open.len() <= 2);
    }
    assert_eq!(open, []);
    assert_eq!(boss.ask(&Results), Ok(["0", "10", "20", "30", "40"].map(String::from).to_vec()));
    nothing_is_left(&boss);
}

#[test]
fn what_cannot_be_asked_has_its_place_among_the_results() {
    let mut boss = boss();
    boss.remove("agent-0");
    boss.remove("agent-2");
    boss.ask(&survey(3, 1)).unwrap();
    let asks = boss.asks();
    boss.fail(asks[0], &AskError::Timeout).unwrap();
    let absent = "not sent: there is no such agent".to_owned();
    assert_eq!(boss.ask(&Results), Ok(vec![absent.clone(), "no reply by the deadline".to_owned(), absent]));
    nothing_is_left(&boss);
}

#[test]
fn many_asks_of_which_none_is_taken_are_an_error_at_once() {
    let mut boss = boss();
    boss.remove("agent-0");
    boss.remove("agent-1");
    let Err(Refusal::Failed(text)) = boss.ask(&survey(2, 1)) else { panic!("it was taken") };
    assert!(text.contains("no such agent"), "{text}");
    nothing_is_left(&boss);
}

#[test]
fn bounds_of_many_asks_are_told() {
    let mut boss = boss();
    for (count, in_flight_max) in [(0, 1), (1, 0), (1, 257), (4_097, 1)] {
        let Err(Refusal::Failed(text)) = boss.ask(&survey(count, in_flight_max)) else { panic!("it was taken") };
        assert!(text.contains("4096") && text.contains("256"), "{text}");
    }
    nothing_is_left(&boss);
}

#[test]
fn a_handler_that_refuses_has_asked_nobody() {
    let mut boss = boss();
    boss.ask(&Survey { refuse_now: true, ..survey(3, 1) }).unwrap_err();
    assert_eq!(boss.effects(), []);
    nothing_is_left(&boss);
    boss.ask(&survey(1, 1)).unwrap();
    let asks = boss.asks();
    boss.answer(asks[0], &1_u32).unwrap();
    nothing_is_left(&boss);
}

#[test]
fn answers_that_are_refused_are_given_up_by_the_timer() {
    let mut boss = boss();
    boss.ask(&survey(1, 1)).unwrap();
    let effects = boss.effects();
    let [Effect::Ask { id, .. }, Effect::Timer { name, .. }] = effects.as_slice() else { panic!("{effects:?}") };
    let ask: AskId = skep_sdk::serde_json::from_str(&format!("\"{id}\"")).unwrap();
    boss.tell(&Refuse(true)).unwrap();
    boss.answer(ask, &1_u32).unwrap_err();
    assert_eq!(boss.ask(&Results), Ok(Vec::new()));
    boss.fire(name, &(), 0).unwrap();
    nothing_is_left(&boss);
}

#[agent]
#[derive(Default)]
struct Loner;

#[handlers]
impl Loner {
    fn delegate(&self, ctx: &mut Context, m: Delegate) -> Result<AskId> {
        Ok(ctx.task(&Job(m.job), Duration::from_secs(3))?)
    }

    fn survey(&self, ctx: &mut Context, m: Survey) -> Result<ManyId> {
        let asks: Vec<_> = m.agents.into_iter().map(|agent| (agent, Job(0))).collect();
        ctx.ask_many(&asks, m.in_flight_max, Duration::from_secs(1))
    }
}

#[test]
fn who_cannot_take_the_end_may_not_begin() {
    let mut loner = Testbed::<Loner>::start("{}").unwrap();
    let Err(Refusal::Failed(text)) = loner.ask(&Delegate { job: 1 }) else { panic!("it was taken") };
    assert!(text.contains("#[answer]"), "{text}");
    let Err(Refusal::Failed(text)) = loner.ask(&survey(1, 1)) else { panic!("it was taken") };
    assert!(text.contains("#[answers]"), "{text}");
    assert_eq!(loner.effects(), []);
}
