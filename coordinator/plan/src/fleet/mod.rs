//! The world as the leader observes it, folded from events. No decisions: what follows from it is in `assign`.

mod member;
mod topics;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

pub use member::{Member, Standing};
pub use topics::{Lag, LiveTopic, PartitionFacts, TopicFacts};

use crate::id::{NodeId, Partition, PlanVersion, ProducerName, StreamId, Topic};
use crate::lease::Timing;
pub use crate::message::StageLoad;
use crate::message::{Refusal, Register, Report};
use crate::orders::Orders;
use crate::plan::Plan;
use crate::reason::Reason;
use crate::replay::Erasure;
use crate::time::{Span, Time};

/// Something that changes what is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// A plan was loaded: who owns by it may still live, and its topics may still be there.
    Loaded(Plan),
    /// A session began.
    Registered(Register),
    /// A node reported.
    Reported(Report),
    /// A node let go of a partition.
    Released(Release),
    /// A node has stopped for good: nothing of it runs any more.
    Left(Report),
    /// A session broke; the node may live.
    SessionClosed(ProducerName),
    /// What a Kafka cluster has.
    TopicsListed {
        /// The cluster.
        cluster: String,
        /// The topics in it that belong to our streams.
        topics: Vec<LiveTopic>,
    },
    /// What operators want.
    Ordered(Orders),
    /// Time passes.
    Tick,
}

/// A node has let go of a partition. Said at once, ahead of the next report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Who lets go.
    pub who: ProducerName,
    /// The newest plan that it had accepted then.
    pub seen: PlanVersion,
    /// What it lets go of.
    pub partition: Partition,
}

/// Something that people should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A node has come.
    Joined(ProducerName),
    /// A node is seen differently.
    Standing(ProducerName, Standing),
    /// A topic has come.
    TopicFound(StreamId, Topic),
    /// A topic has gone.
    TopicGone(StreamId, Topic),
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joined(who) => write!(f, "{who} has joined"),
            Self::Standing(who, Standing::Awaited) => write!(f, "{who} is awaited"),
            Self::Standing(who, Standing::Live) => write!(f, "{who} reports again"),
            Self::Standing(who, Standing::Suspect) => write!(f, "{who} is late with its reports"),
            Self::Standing(who, Standing::Superseded) => write!(f, "a later incarnation than {who} has come"),
            Self::Standing(who, Standing::Ended) => write!(f, "{who} has left"),
            Self::Standing(who, Standing::Dead) => write!(f, "{who} is dead: its lease has ended"),
            Self::TopicFound(stream, topic) => write!(f, "{topic} of {stream} has come"),
            Self::TopicGone(stream, topic) => write!(f, "{topic} of {stream} has gone"),
        }
    }
}

/// What an observation came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effect {
    /// Whether it may change the plan.
    pub is_news: bool,
    /// What people should know.
    pub notes: Vec<Note>,
}

/// The observed world.
#[derive(Debug, Clone)]
pub struct Fleet {
    timing: Timing,
    /// A topic is gone when no listing had it for so long.
    topic_grace: Span,
    members: BTreeMap<ProducerName, Member>,
    topics: BTreeMap<(StreamId, Topic), TopicFacts>,
    /// By Kafka cluster, when it was listed last, and how many alerts a second had come since the time before.
    arrivals: BTreeMap<String, (Time, u64)>,
    orders: Orders,
}

impl Fleet {
    /// An empty world.
    pub fn new(timing: Timing, topic_grace: Span) -> Self {
        let (members, topics, arrivals) = Default::default();
        Self { timing, topic_grace, members, topics, arrivals, orders: Orders::default() }
    }

    /// Whether somebody whom the plan names has still to come to this leader: until then, what it says of nodes that nobody has heard of
    /// may hold as well.
    pub fn is_awaiting(&self) -> bool {
        self.members.values().any(|member| member.standing == Standing::Awaited)
    }

    /// The incarnations of nodes that are not forgotten.
    pub fn members(&self) -> &BTreeMap<ProducerName, Member> {
        &self.members
    }

    /// The topics of the streams.
    pub fn topics(&self) -> &BTreeMap<(StreamId, Topic), TopicFacts> {
        &self.topics
    }

    /// Alerts a second that come in, as the last listings show it.
    pub fn arriving(&self) -> u64 {
        self.arrivals.values().map(|(_, rate)| rate).sum()
    }

    /// Whether a stream is a replay.
    pub fn is_replay(&self, id: &StreamId) -> bool {
        self.orders.streams.get(id).is_some_and(|stream| stream.replay.is_some())
    }

    /// The lag of a stream, or of all but replays, which may wait.
    pub fn lag(&self, of: Option<&StreamId>) -> Lag {
        let counts = |id: &StreamId| of.map_or_else(|| !self.is_replay(id), |of| of == id);
        let topics = self.topics.iter().filter(|((stream, _), _)| counts(stream));
        topics.flat_map(|(_, facts)| facts.partitions.values()).fold(Lag::default(), Lag::add)
    }

    /// What operators want.
    pub fn orders(&self) -> &Orders {
        &self.orders
    }

    /// The names of all nodes that are not dead.
    pub fn nodes(&self) -> BTreeSet<NodeId> {
        let alive = self.members.iter().filter(|(_, member)| !member.standing.is_over());
        alive.map(|(who, _)| who.node.clone()).collect()
    }

    /// Whether an incarnation may register; why not.
    ///
    /// # Errors
    /// It is over, or a later one is there.
    pub fn admits(&self, who: &ProducerName) -> Result<(), Refusal> {
        let alive = |member: &Member| !member.standing.is_over();
        let is_later = |other: &ProducerName| other.node == who.node && other.incarnation > who.incarnation;
        if self.members.iter().any(|(other, member)| is_later(other) && alive(member)) {
            return Err(Refusal::Superseded);
        }
        match self.members.get(who) {
            Some(member) if member.standing.is_over() => Err(Refusal::Over),
            Some(member) if member.standing == Standing::Superseded => Err(Refusal::Superseded),
            _ => Ok(()),
        }
    }

    /// Whether a report of an incarnation counts; why not.
    ///
    /// # Errors
    /// It has not registered, is over, or a later one is there.
    pub fn accepts(&self, who: &ProducerName) -> Result<(), Refusal> {
        match self.members.get(who).map(|member| member.standing) {
            None | Some(Standing::Awaited) => Err(Refusal::NotRegistered),
            Some(Standing::Live | Standing::Suspect) => Ok(()),
            Some(Standing::Superseded) => Err(Refusal::Superseded),
            Some(Standing::Ended | Standing::Dead) => Err(Refusal::Over),
        }
    }

    /// The replays of which a plan wants everything erased, and whose node says that it is.
    pub fn erased(&self, plan: &Plan) -> Vec<StreamId> {
        let is_done = |(id, erasure): &(&StreamId, &Erasure)| {
            let member = self.members.get(&erasure.by);
            member.is_some_and(|member| member.erased.get(*id) == Some(&erasure.since))
        };
        plan.erasures.iter().filter(is_done).map(|(id, _)| id.clone()).collect()
    }

    /// Forgets the topics of a stream: one of the same name that comes later is another one.
    pub fn forget_stream(&mut self, id: &StreamId) {
        self.topics.retain(|(stream, _), _| stream != id);
    }

    /// Forgets members that are over and that the plan does not name.
    pub fn forget(&mut self, plan: &Plan) {
        let mut named: BTreeSet<_> = plan.owners.values().filter_map(|entry| entry.state.owner()).collect();
        named.extend(plan.erasures.values().map(|erasure| &erasure.by));
        self.members.retain(|who, member| !member.standing.is_over() || named.contains(who));
    }

    /// Takes an observation in.
    pub fn apply(&mut self, observation: Observation, now: Time) -> Effect {
        let mut effect = Effect::default();
        match observation {
            Observation::Loaded(plan) => self.load(&plan, now),
            Observation::Registered(register) => self.register(register, now, &mut effect),
            Observation::Reported(report) => self.report(&report, now, &mut effect),
            Observation::Released(release) => effect.is_news = self.release(release),
            Observation::Left(report) => {
                self.report(&report, now, &mut effect);
                self.set_standing(&report.who, Standing::Ended, &mut effect);
            }
            Observation::SessionClosed(who) => {
                if let Some(member) = self.members.get_mut(&who) {
                    member.connected = false;
                }
            }
            Observation::TopicsListed { cluster, topics } => self.list(&cluster, topics, now, &mut effect),
            Observation::Ordered(orders) => {
                effect.is_news = self.orders != orders;
                self.orders = orders;
            }
            Observation::Tick => self.tick(now, &mut effect),
        }
        effect
    }

    fn load(&mut self, plan: &Plan, now: Time) {
        self.orders = plan.orders.clone();
        for (partition, entry) in &plan.owners {
            if let Some(owner) = entry.state.owner() {
                self.members.entry(owner.clone()).or_insert_with(|| Member::awaited(now));
            }
            let Some(stream) = self.orders.streams.get(&partition.stream) else { continue };
            let Some(matched) = stream.topics.matches(&partition.topic) else { continue };
            let key = (partition.stream.clone(), partition.topic.clone());
            let topic = TopicFacts { matched, listed: now, is_confirmed: false, partitions: BTreeMap::new() };
            let facts = self.topics.entry(key).or_insert(topic).partitions.entry(partition.number).or_default();
            match entry.reason {
                Reason::NightOver { at } => drop(facts.take(Some(at), Some(at))),
                Reason::ReplayOver { at } => drop(facts.take_window(at, Some(at))),
                _ => {}
            }
        }
        for erasure in plan.erasures.values() {
            self.members.entry(erasure.by.clone()).or_insert_with(|| Member::awaited(now));
        }
    }

    fn register(&mut self, register: Register, now: Time, effect: &mut Effect) {
        let who = register.report.who.clone();
        if self.admits(&who).is_err() {
            return;
        }
        let is_vouched = |other: &ProducerName| Some(other.incarnation) <= register.ended;
        let kin: Vec<_> = self.members.keys().filter(|other| other.is_kin(&who)).cloned().collect();
        for other in kin {
            let standing = if is_vouched(&other) { Standing::Ended } else { Standing::Superseded };
            self.set_standing(&other, standing, effect);
        }
        let is_new = !self.members.contains_key(&who);
        let member = self.members.entry(who.clone()).or_insert_with(|| Member::awaited(now));
        (member.connected, member.info) = (true, register.info);
        if is_new {
            member.standing = Standing::Live;
            effect.notes.push(Note::Joined(who));
        }
        effect.is_news = true;
        self.report(&register.report, now, effect);
    }

    fn report(&mut self, report: &Report, now: Time, effect: &mut Effect) {
        let Some(member) = self.members.get_mut(&report.who) else { return };
        let Some(is_news) = member.take(report, now) else { return };
        effect.is_news |= is_news;
        if matches!(member.standing, Standing::Awaited | Standing::Suspect) {
            self.set_standing(&report.who, Standing::Live, effect);
        }
        for (partition, held) in &report.holds {
            let Some(facts) = self.position(partition) else { continue };
            effect.is_news |= match held.until {
                Some(until) => facts.take_window(until, held.next),
                None => facts.take(None, held.next),
            };
        }
    }

    fn position(&mut self, partition: &Partition) -> Option<&mut PartitionFacts> {
        let key = (partition.stream.clone(), partition.topic.clone());
        self.topics.get_mut(&key)?.partitions.get_mut(&partition.number)
    }

    fn release(&mut self, release: Release) -> bool {
        let Some(member) = self.members.get_mut(&release.who) else { return false };
        let known = member.released.entry(release.partition).or_default();
        let is_news = *known < release.seen;
        *known = release.seen.max(*known);
        is_news
    }

    /// Sets what is known of a life. One that is over stays so.
    fn set_standing(&mut self, who: &ProducerName, standing: Standing, effect: &mut Effect) {
        let Some(member) = self.members.get_mut(who) else { return };
        if member.standing == standing || member.standing.is_over() {
            return;
        }
        member.standing = standing;
        effect.is_news = true;
        effect.notes.push(Note::Standing(who.clone(), standing));
    }

    fn list(&mut self, cluster: &str, topics: Vec<LiveTopic>, now: Time, effect: &mut Effect) {
        let mut came = 0;
        for (id, stream) in self.orders.streams.iter().filter(|(_, stream)| stream.cluster == cluster) {
            for live in &topics {
                let Some(matched) = stream.topics.matches(&live.topic) else { continue };
                let facts = self.topics.entry((id.clone(), live.topic.clone())).or_insert_with(|| {
                    effect.notes.push(Note::TopicFound(id.clone(), live.topic.clone()));
                    TopicFacts { matched, listed: now, is_confirmed: false, partitions: BTreeMap::new() }
                });
                effect.is_news |= !facts.is_confirmed || !facts.partitions.keys().eq(live.ends.keys());
                (facts.listed, facts.is_confirmed) = (now, true);
                facts.partitions.retain(|number, _| live.ends.contains_key(number));
                // A replay ends where its window does.
                let ends = live.ends.iter().map(|(&number, &end)| (number, end.filter(|_| stream.replay.is_none())));
                for (number, end) in ends {
                    let before = facts.partitions.get(&number).and_then(|facts| facts.end);
                    came += before.zip(end).map_or(0, |(before, end)| end.0.saturating_sub(before.0));
                    effect.is_news |= facts.partitions.entry(number).or_default().take(end, None);
                }
            }
        }
        let rate = self.arrivals.get(cluster).map_or(0, |(at, _)| came * 1000 / now.since(*at).0.max(1));
        self.arrivals.insert(cluster.to_owned(), (now, rate));
        let streams = &self.orders.streams;
        self.arrivals.retain(|cluster, _| streams.values().any(|stream| stream.cluster == *cluster));
        let is_listed = |id: &StreamId| streams.get(id).is_none_or(|stream| stream.cluster == cluster);
        self.topics.retain(|(id, topic), facts| {
            let is_gone = is_listed(id) && now.since(facts.listed) >= self.topic_grace;
            if is_gone {
                effect.is_news = true;
                effect.notes.push(Note::TopicGone(id.clone(), topic.clone()));
            }
            !is_gone
        });
    }

    fn tick(&mut self, now: Time, effect: &mut Effect) {
        let aged = |(who, member): (&ProducerName, &Member)| Some((who.clone(), member.aged(&self.timing, now)?));
        let changed: Vec<_> = self.members.iter().filter_map(aged).collect();
        for (who, standing) in changed {
            self.set_standing(&who, standing, effect);
        }
    }
}
